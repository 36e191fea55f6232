/** Asks a running `motenet up` through the socket of its state folder. */
import { connect, type Socket } from 'node:net';
import { codeOf, messageOf, RunError } from './errors.ts';
import { SocketReader } from './pipe.ts';
import {
  ANSWER_LIMIT_BYTES,
  LineReader,
  type MoteAnswer,
  type MoteRequest,
  type MoteResults,
} from './state-protocol.ts';
import { socketPath } from './state.ts';

/** A refusal of the running mote. */
export class MoteRefusal extends RunError {
  /** `ERR_NAME_NOT_FOUND`, `ERR_CONNECTION_REFUSED`, `ERR_TIMED_OUT`, … */
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = 'MoteRefusal';
    this.code = code;
  }
}

/** A connection on which a request was answered well. */
export interface Answered<C extends keyof MoteResults> {
  readonly result: MoteResults[C];
  readonly socket: Socket;
  /** What follows the answer. */
  readonly reader: SocketReader;
}

/**
 * Sends a request to the mote of a state folder and reads the answer; the connection stays open. Rejects with
 * {@link RunError} that says the next step when no mote runs there, and with {@link MoteRefusal}.
 */
export async function openRequest<C extends keyof MoteResults>(
  directory: string,
  request: Extract<MoteRequest, { command: C }>,
): Promise<Answered<C>> {
  const socket = await open(directory);
  const reader = new SocketReader(socket);
  socket.write(`${JSON.stringify(request)}\n`);
  try {
    const answer = await readAnswer<C>(reader);
    if ('error' in answer) throw new MoteRefusal(answer.error.code, answer.error.message);
    return { result: answer.result, socket, reader };
  } catch (error) {
    socket.destroy();
    if (error instanceof RunError) throw error;
    throw new RunError(`the running \`motenet up\` did not answer: ${messageOf(error)}`, { cause: error });
  }
}

/** One request and its result. */
export async function ask<C extends keyof MoteResults>(
  directory: string,
  request: Extract<MoteRequest, { command: C }>,
): Promise<MoteResults[C]> {
  const { result, socket } = await openRequest<C>(directory, request);
  socket.destroy();
  return result;
}

function open(directory: string): Promise<Socket> {
  const socket = connect({ path: socketPath(directory), allowHalfOpen: true });
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => reject(new RunError(describe(error, directory), { cause: error }));
    socket.once('error', failed);
    socket.once('connect', () => {
      socket.off('error', failed);
      resolve(socket);
    });
  });
}

function describe(error: unknown, directory: string): string {
  const code = codeOf(error);
  if (code === 'EACCES' || code === 'EPERM')
    return `no permission to reach the mote of ${directory}: run this as the user who runs \`motenet up\``;
  if (code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTDIR')
    return `no mote runs with its state in ${directory}: start one with \`motenet up --control URL\`, or say where with --state`;
  return `cannot reach the mote of ${directory}: ${messageOf(error)}`;
}

async function readAnswer<C extends keyof MoteResults>(reader: SocketReader): Promise<MoteAnswer<C>> {
  const lines = new LineReader(ANSWER_LIMIT_BYTES);
  for (let chunk = await reader.next(); chunk !== undefined; chunk = await reader.next()) {
    const whole = lines.push(chunk);
    if (whole === undefined) continue;
    reader.unread(whole.rest);
    return JSON.parse(whole.line) as MoteAnswer<C>;
  }
  throw new Error('it went away');
}
