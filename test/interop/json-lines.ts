/**
 * Commands as JSON lines between the harness and the programs it starts: `{"id":1,"op":"ping",…}` goes in on stdin,
 * `{"id":1,"ok":{…}}` or `{"id":1,"error":{name,code,message}}` comes back on stdout. `serveJsonLines` is the program's side,
 * `Remote` the harness's.
 */
import { createInterface } from 'node:readline';
import type { Lab, Namespace, Program } from './lab.ts';

/** The TypeScript loader by its full address, so that programs may start in any directory. */
export const TSX = import.meta.resolve('tsx');

/** Arguments and results as they come out of JSON; each op knows its own. */
// biome-ignore lint/suspicious/noExplicitAny: the other program wrote it
export type Json = Record<string, any>;

/** Answers lines on stdin until it closes, then exits. Ops run side by side. */
export function serveJsonLines(perform: (op: string, args: Json) => Promise<object> | object): void {
  const write = (message: unknown) => process.stdout.write(`${JSON.stringify(message)}\n`);
  const answer = async (line: string) => {
    const { id, op, ...args } = JSON.parse(line) as Json;
    try {
      write({ id, ok: await perform(op, args) });
    } catch (caught) {
      const error = caught as { name?: string; code?: string; message?: string };
      write({ id, error: { name: error?.name, code: error?.code, message: String(error?.message ?? caught) } });
    }
  };
  createInterface({ input: process.stdin })
    .on('line', line => void answer(line))
    .on('close', () => process.exit(0));
  process.on('unhandledRejection', error => {
    process.stderr.write(`unhandled: ${error instanceof Error ? error.stack : String(error)}\n`);
  });
}

/** An op that failed inside the program. */
export class RemoteError extends Error {
  /** `ERR_…` of motenet or `E…` of the kernel, when there was one. */
  readonly code: string | undefined;

  constructor(op: string, message: string, code: string | undefined) {
    super(`${op}: ${code === undefined ? '' : `${code}: `}${message}`);
    this.name = 'RemoteError';
    this.code = code;
  }
}

/** A program of `serveJsonLines` that runs in a lab. */
export class Remote {
  readonly program: Program;
  #lastId = 0;
  readonly #pending = new Map<number, (message: Json) => void>();

  /** Starts `FILE.ts` of this folder (or an absolute path) in a namespace. */
  constructor(lab: Lab, space: Namespace, file: string, nodeArgs: readonly string[] = []) {
    const path = file.startsWith('/') ? file : new URL(file, import.meta.url).pathname;
    const command = [process.execPath, '--import', TSX, ...nodeArgs, path];
    this.program = lab.start(space, command, { name: file });
    createInterface({ input: this.program.child.stdout! }).on('line', line => {
      if (!line.startsWith('{')) return;
      const message = JSON.parse(line) as Json;
      this.#pending.get(message.id)?.(message);
      this.#pending.delete(message.id);
    });
    void this.program.ended.then(() => {
      for (const settle of this.#pending.values())
        settle({ error: { message: `the program has ended: ${this.program.tail(6)}` } });
      this.#pending.clear();
    });
  }

  /** Performs an op; throws RemoteError when it fails or takes longer than `timeoutMs`. */
  call(op: string, args: Json = {}, timeoutMs = 30_000): Promise<Json> {
    const id = ++this.#lastId;
    const result = new Promise<Json>((resolve, reject) => {
      if (!this.program.isRunning)
        return reject(new RemoteError(op, `the program has ended: ${this.program.tail(6)}`, undefined));
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new RemoteError(op, `no answer within ${timeoutMs / 1000} s`, undefined));
      }, timeoutMs);
      this.#pending.set(id, message => {
        clearTimeout(timer);
        if (message.error === undefined) resolve(message.ok);
        else reject(new RemoteError(op, message.error.message, message.error.code));
      });
      this.program.child.stdin!.write(`${JSON.stringify({ id, op, ...args })}\n`);
    });
    // A case may look at it only after another failed: that must not end the runner.
    result.catch(() => {});
    return result;
  }
}
