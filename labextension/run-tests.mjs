/**
 * Runs labextension/tests/*.test.ts with Node's own test runner: `jlpm test`, or `node labextension/run-tests.mjs`.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';

const folder = path.join(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), 'tests');
const tests = readdirSync(folder).filter(name => name.endsWith('.test.ts'));
const built = mkdtempSync(path.join(tmpdir(), 'covalab-tests-'));
try {
  await build({
    entryPoints: tests.map(name => path.join(folder, name)),
    bundle: true,
    platform: 'node',
    mainFields: ['module', 'main'], // as the page gets them
    format: 'esm',
    outExtension: { '.js': '.mjs' },
    outdir: built,
    logLevel: 'warning'
  });
  const files = tests.map(name => path.join(built, name.replace(/\.ts$/, '.mjs')));
  process.exitCode = spawnSync(process.execPath, ['--test', ...files], { stdio: 'inherit' }).status ?? 1;
} finally {
  rmSync(built, { recursive: true });
}
