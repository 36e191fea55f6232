/**
 * Deno and Bun as this repository has them: development packages whose install scripts do not run, so the programs are
 * taken from the packages of the platform.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { ROOT } from './files.ts';
import type { Tally } from './tally.ts';

/** A foreign runtime. */
export interface Runtime {
  readonly name: 'deno' | 'bun';
  /** The program, or undefined where it is not installed. */
  readonly program: string | undefined;
  /** Arguments before the script. */
  readonly flags: readonly string[];
}

/** Deno with its own UDP sockets. */
export const DENO: Runtime = {
  name: 'deno',
  program: findDeno(),
  flags: ['run', '-A', '--unstable-net', '--no-check'],
};
/** Deno as it comes. */
export const DENO_STABLE: Runtime = { ...DENO, flags: ['run', '-A', '--no-check'] };
/** Bun. */
export const BUN: Runtime = { name: 'bun', program: findBun(), flags: ['run'] };

function findDeno(): string | undefined {
  const platform = `${process.platform}-${process.arch}${process.platform === 'linux' ? '-glibc' : ''}`;
  return findProgram(`@deno/${platform}`, 'deno');
}

function findBun(): string | undefined {
  return findProgram(`@oven/bun-${process.platform}-${process.arch}`, 'bin/bun');
}

function findProgram(name: string, path: string): string | undefined {
  try {
    const program = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), path);
    return existsSync(program) ? program : undefined;
  } catch {
    return undefined;
  }
}

/** What a program said. */
export interface Spoken {
  readonly code: number;
  readonly output: string;
}

/** What {@link runOn} takes. */
export interface RunOnOptions {
  readonly timeoutMs?: number;
  readonly cwd?: string;
  readonly env?: { readonly [name: string]: string };
}

/** Runs a script on a runtime, by default from the repository; standard output and error together. */
export function runOn(runtime: Runtime, args: readonly string[], options: RunOnOptions = {}): Promise<Spoken> {
  const env = { ...process.env, NO_COLOR: '1', ...options.env };
  const limits = { timeout: options.timeoutMs ?? 120_000, maxBuffer: 64 << 20, cwd: options.cwd ?? ROOT, env };
  return new Promise(resolve => {
    execFile(runtime.program!, [...runtime.flags, ...args], limits, (error, stdout, stderr) => {
      const code = error === null ? 0 : Number((error as { code?: unknown }).code ?? 1) || 1;
      resolve({ code, output: stdout + stderr });
    });
  });
}

/** Runs test files on a runtime and returns their tally with the output. */
export async function testOn(
  runtime: Runtime,
  files: readonly string[],
  options: RunOnOptions = {},
): Promise<Tally & { output: string }> {
  const { output } = await runOn(runtime, [join(ROOT, 'test/tools/run-foreign.ts'), ...files], options);
  const line = output.split('\n').findLast(text => text.startsWith('{"passed"'));
  const tally = line === undefined ? { passed: 0, failed: 1, skipped: 0 } : (JSON.parse(line) as Tally);
  return { ...tally, output };
}
