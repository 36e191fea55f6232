/**
 * `motenet nc NAME PORT`: standard input and output as a TCP connection inside the tailnet, through a running
 * `motenet up`. The end of standard input ends this half of the connection; the command ends when both halves have, and
 * at a terminal as soon as the other side has.
 */
import type { Readable, Writable } from 'node:stream';
import { RunError } from './errors.ts';
import type { SocketReader } from './pipe.ts';
import { MoteRefusal, openRequest } from './state-client.ts';
import { FRAME_BROKEN, FRAME_LIMIT_BYTES } from './state-protocol.ts';

/** What `motenet nc` was told. */
export interface NcOptions {
  readonly stateDir: string;
  readonly name: string;
  readonly port: number;
  readonly timeoutMs: number;
}

/** Standard input and output. */
export interface NcStreams {
  readonly input: Readable & { readonly isTTY?: boolean };
  readonly output: Writable;
}

/** Carries both ways until the end. Rejects with {@link RunError} when the connection cannot be had or breaks. */
export async function runNc(options: NcOptions, { input, output }: NcStreams): Promise<void> {
  const { stateDir, name, port, timeoutMs } = options;
  const { socket, reader } = await openRequest<'nc'>(stateDir, { command: 'nc', name, port, timeoutMs });
  let isOutputGone = false;
  const leave = () => {
    isOutputGone = true;
    socket.destroy();
  };
  output.once('error', leave);
  output.once('close', leave);
  if (output.destroyed) leave();
  input.pipe(socket);
  try {
    const frames = new FrameReader(reader);
    for (let chunk = await frames.next(); chunk !== undefined; chunk = await frames.next())
      if (!output.write(chunk)) await drained(output);
    await new Promise<void>(resolve => output.write('', () => resolve()));
    const rest = frames.rest();
    if (input.isTTY !== true) await Promise.race([ended(input), rest]);
    input.unpipe(socket);
    socket.end();
    const broken = await rest;
    if (broken !== undefined) throw broken;
  } catch (error) {
    if (!isOutputGone) throw error; // a reader that went away has what it wanted
  } finally {
    output.off('close', leave);
    input.unpipe(socket);
    input.destroy();
    socket.destroy();
  }
}

function ended(input: Readable): Promise<void> {
  return new Promise(resolve => {
    if (input.readableEnded || input.destroyed) return resolve();
    input.once('end', resolve);
    input.once('close', resolve);
  });
}

function drained(output: Writable): Promise<void> {
  return new Promise(resolve => {
    if (output.destroyed) return resolve();
    const done = () => {
      output.off('drain', done);
      output.off('close', done);
      output.off('error', done);
      resolve();
    };
    output.on('drain', done);
    output.on('close', done);
    output.on('error', done);
  });
}

/** Reads the frames of a server, as `state-protocol.ts` says. */
export class FrameReader {
  readonly #reader: SocketReader;
  #waiting: Uint8Array = new Uint8Array(0);

  constructor(reader: SocketReader) {
    this.#reader = reader;
  }

  /** The bytes of the next frame, undefined at the end of the other side. Rejects with {@link MoteRefusal} for a break. */
  async next(): Promise<Uint8Array | undefined> {
    const [a, b, c, d] = await this.#take(4);
    const length = ((a! << 24) | (b! << 16) | (c! << 8) | d!) >>> 0;
    if (length === FRAME_BROKEN) throw await this.#broken();
    if (length > FRAME_LIMIT_BYTES) throw otherVersion(); // CHECK: nc-frame-length
    return length === 0 ? undefined : this.#take(length);
  }

  /** After the end: waits until the server has closed; why the connection broke, if it did. */
  async rest(): Promise<RunError | undefined> {
    try {
      await this.next();
    } catch (error) {
      if (error instanceof MoteRefusal) return error;
    }
    return undefined;
  }

  async #take(length: number): Promise<Uint8Array> {
    while (this.#waiting.length < length) {
      const chunk = await this.#reader.next().catch(() => undefined);
      if (chunk === undefined) throw new RunError('`motenet up` has ended, and the connection with it');
      this.#waiting = this.#waiting.length === 0 ? chunk : Buffer.concat([this.#waiting, chunk]);
    }
    const taken = this.#waiting.subarray(0, length);
    this.#waiting = this.#waiting.subarray(length);
    return taken;
  }

  async #broken(): Promise<RunError> {
    const chunks = [this.#waiting];
    for (let chunk = await this.#reader.next(); chunk !== undefined; chunk = await this.#reader.next())
      chunks.push(chunk);
    const { code, message } = JSON.parse(Buffer.concat(chunks).toString('utf8'));
    return new MoteRefusal(code, message);
  }
}

function otherVersion(): RunError {
  return new RunError('the running `motenet up` is of another version: start it again');
}
