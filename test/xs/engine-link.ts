/**
 * A running engine that serves frames (shell.c, `--serve`), spoken to synchronously: a frame goes in, and what comes back
 * until the engine is idle comes out. So it takes part in a virtual clock like a function that is called.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What the shell says of its memory; all in bytes (memory.h). */
export interface MemoryFigures {
  readonly chunkUsed: number;
  readonly chunkPeak: number;
  readonly chunkReserved: number;
  readonly slotUsed: number;
  readonly slotPeak: number;
  readonly slotReserved: number;
  readonly slotBytes: number;
  /** Bytecode of the scripts: in flash on a board. */
  readonly codeBytes: number;
  readonly steps: number;
  readonly cpuMs: number;
}

/** A frame from the engine. */
export interface FrameOut {
  readonly text: string;
  readonly bytes: Buffer;
}

const FRAME_KINDS = Object.freeze({ script: 0, counted: 1, collect: 2, fit: 3, forget: 4, figures: 5, dump: 6 });
/** Kinds of frames in. */
export type FrameKind = keyof typeof FRAME_KINDS;

/** One engine. */
export class EngineLink {
  readonly #child: ChildProcess;
  readonly #in: number;
  readonly #out: number;
  readonly #folder = mkdtempSync(join(tmpdir(), 'motenet-xs-'));
  readonly #exited: Promise<number>;

  /** Starts `program` (the shell, or a tool that runs it) with all arguments, `--serve` among them. */
  constructor(program: string, args: readonly string[]) {
    const [to, from] = [join(this.#folder, 'to'), join(this.#folder, 'from')];
    if (spawnSync('mkfifo', [to, from]).status !== 0) throw new Error('mkfifo failed');
    // While a pipe is open for both, opening one end does not wait for the other.
    const both = [openSync(to, 'r+'), openSync(from, 'r+')];
    const childIn = openSync(to, 'r');
    const childOut = openSync(from, 'w');
    this.#in = openSync(to, 'w');
    this.#out = openSync(from, 'r');
    this.#child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit', childIn, childOut] });
    this.#exited = new Promise(resolve => this.#child.on('exit', code => resolve(code ?? 1)));
    for (const end of [...both, childIn, childOut]) closeSync(end);
  }

  /** Sends a frame and gives what the engine answers until it is idle. Throws Error when the engine has ended. */
  send(kind: FrameKind, content: Uint8Array = new Uint8Array(0)): FrameOut[] {
    const frame = Buffer.alloc(5 + content.length);
    frame.writeUInt32LE(1 + content.length, 0);
    frame[4] = FRAME_KINDS[kind];
    frame.set(content, 5);
    for (let at = 0; at < frame.length; ) at += writeSync(this.#in, frame, at);
    const answers: FrameOut[] = [];
    for (;;) {
      const length = this.#read(4).readUInt32LE(0);
      if (length === 0) return answers;
      const whole = this.#read(length);
      const textEnd = 2 + whole.readUInt16LE(0);
      answers.push({ text: whole.toString('utf8', 2, textEnd), bytes: whole.subarray(textEnd) });
    }
  }

  /** Memory figures, after collecting, fitting, or as they are. */
  memory(kind: 'collect' | 'fit' | 'forget' | 'figures'): MemoryFigures {
    return JSON.parse(this.send(kind)[0]!.text) as MemoryFigures;
  }

  /** Lets the engine end; its exit code. */
  async close(): Promise<number> {
    closeSync(this.#in);
    const code = await this.#exited;
    closeSync(this.#out);
    rmSync(this.#folder, { recursive: true, force: true });
    return code;
  }

  #read(length: number): Buffer {
    const out = Buffer.alloc(length);
    for (let at = 0; at < length; ) {
      const count = readSync(this.#out, out, at, length - at, null);
      if (count === 0) throw new Error('the engine has ended');
      at += count;
    }
    return out;
  }
}
