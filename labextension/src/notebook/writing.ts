/**
 * Writing of outputs into the model of an open cell, from which they go into the shared document.
 */
import type { IOutput } from '@jupyterlab/nbformat';
import type { IOutputAreaModel } from '@jupyterlab/outputarea';
import { JSONExt, type PartialJSONValue } from '@lumino/coreutils';

/** Let a model have these outputs; what is the same stays, so that nothing flickers and an unchanged notebook stays saved. */
export function writeOutputs(model: IOutputAreaModel, outputs: readonly IOutput[]): void {
  if (outputs.length < model.length) {
    model.clear(); // not `remove`: of several outputs it does not reach the shared document
  }
  outputs.forEach((output, at) => {
    if (at >= model.length) {
      // As an item of its own: the model would join a stream to the one before.
      model.add({ output_type: 'display_data', data: {}, metadata: {} });
      model.set(at, output);
    } else if (!isSame(output, model.get(at).toJSON())) {
      model.set(at, output);
    }
  });
}

function isSame(one: IOutput, other: IOutput): boolean {
  return JSONExt.deepEqual(one as PartialJSONValue, other as PartialJSONValue);
}
