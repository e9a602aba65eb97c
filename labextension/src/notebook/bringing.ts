/**
 * Bringing of a run's names into the kernel of a notebook, by the magic `%bring`.
 */
import type { IOutput } from '@jupyterlab/nbformat';
import type { Kernel, KernelMessage } from '@jupyterlab/services';

/** Bring the names of a run into a kernel and return the kernel's report about it; an error of the kernel is thrown. */
export async function bringValues(kernel: Kernel.IKernelConnection, run: string): Promise<string> {
  // `%load_ext` would print that it is loaded already.
  const code = `get_ipython().extension_manager.load_extension('covalab')\n%bring ${run}`;
  const future = kernel.requestExecute({ code, store_history: false, allow_stdin: false });
  const texts: string[] = [];
  future.onIOPub = ({ header, content }) => {
    const data = (content as Partial<IOutput>)['data'] as Record<string, unknown> | undefined;
    if (header.msg_type === 'execute_result' || header.msg_type === 'display_data') {
      texts.push(String(data?.['text/plain'] ?? ''));
    } else if (header.msg_type === 'stream') {
      texts.push(String((content as KernelMessage.IStreamMsg['content']).text));
    }
  };
  const { content } = await future.done;
  const text = texts.map(one => one.trim()).filter(Boolean).join('\n');
  if (content.status === 'error') {
    const { ename, evalue } = content;
    throw new Error(ename === 'UsageError' ? evalue || text : `${ename}: ${evalue}`);
  }
  if (content.status !== 'ok') {
    throw new Error(text || 'The kernel did not run it.');
  }
  return text;
}
