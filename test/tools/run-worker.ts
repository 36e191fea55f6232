/**
 * The process in which test files run: gets one file at a time from `run.ts`, answers with its result.
 */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from './files.ts';
import { deferUvu, runQueued } from './uvu-queue.ts';

deferUvu();
process.on('message', async ({ file }: { file: string }) => {
  const result = await runQueued(() => import(pathToFileURL(resolve(ROOT, file)).href));
  process.send!(result);
});
