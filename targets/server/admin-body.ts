/**
 * The body of an administration request: read within a size and a time, and made a command of.
 *
 * A policy is a text of up to 1 MiB inside of JSON, where each of its characters may be an escape of six. So a command
 * may be that large, but only as far as it is text: what is not is as limited as in any other command, and few such
 * bodies are read at once.
 */
import type { IncomingMessage } from 'node:http';
import type { AdminCommand } from '../../lib/coordinator/commands.ts';
import { CommandError, readCommand } from './admin-command.ts';

/** Largest command in bytes, but for a policy. */
export const BODY_LIMIT_BYTES = 65_536;
/** Largest command with a policy in bytes: 1 MiB of text in escapes, and the rest of the command. */
export const POLICY_BODY_LIMIT_BYTES = 6_356_992;
/** Commands at once that are larger than {@link BODY_LIMIT_BYTES}. */
const LARGE_BODIES = 4;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Ends a request with a status and `{"error":…}`. */
export class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, code: string, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

/** Counts the large bodies of all requests that share it. */
export class LargeBodies {
  #count = 0;

  /** Throws {@link Refusal} when there are as many as may be. */
  open(): void {
    const busy = 'as many policies as may be are on their way: try again';
    const isFull = this.#count >= LARGE_BODIES;
    if (isFull) throw new Refusal(503, 'busy', busy, { 'retry-after': '1' }); // CHECK: admin-large-bodies
    this.#count++;
  }

  /** One of them is done with. */
  close(): void {
    this.#count--;
  }
}

/** The body of one request. Until it is closed, its size is counted. */
export class RequestBody {
  readonly #request: IncomingMessage;
  readonly #timeoutMs: number;
  readonly #largeBodies: LargeBodies;
  #isLarge = false;

  constructor(request: IncomingMessage, timeoutMs: number, largeBodies: LargeBodies) {
    this.#request = request;
    this.#timeoutMs = timeoutMs;
    this.#largeBodies = largeBodies;
  }

  /** The command in it. Rejects with {@link Refusal}. */
  async readCommand(): Promise<AdminCommand> {
    const type = (this.#request.headers['content-type'] ?? '').split(';', 1)[0]!.trim().toLowerCase();
    if (type !== 'application/json')
      throw new Refusal(415, 'media-type', 'a command is sent as Content-Type: application/json');
    const body = await this.#read();
    const isText = !this.#isLarge || bytesOutsideTexts(body) <= BODY_LIMIT_BYTES;
    if (!isText) throw tooLarge(); // CHECK: admin-body-structure
    const command = commandOf(body);
    if (this.#isLarge && command.type !== 'policy-set') throw tooLarge(); // CHECK: admin-body-limit
    return command;
  }

  /** The request is answered. */
  close(): void {
    if (this.#isLarge) this.#largeBodies.close();
    this.#isLarge = false;
  }

  #read(): Promise<Buffer> {
    const request = this.#request;
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      let isSettled = false;
      const settle = (run: () => void) => {
        if (isSettled) return;
        isSettled = true;
        clearTimeout(timer);
        request.removeAllListeners('data').pause();
        run();
      };
      const fail = (error: unknown) => settle(() => reject(error));
      const timer = setTimeout(
        () => fail(new Refusal(408, 'timeout', 'the command did not arrive in time')),
        this.#timeoutMs,
      );
      const take = (length: number) => {
        try {
          this.#take(length);
        } catch (error) {
          fail(error);
        }
      };
      take(Number(request.headers['content-length'] ?? 0));
      if (isSettled) return;
      request.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        chunks.push(chunk);
        take(bytes);
      });
      request.once('end', () => settle(() => resolve(Buffer.concat(chunks))));
      const gone = () => fail(new Refusal(400, 'invalid', 'the body broke off'));
      request.once('error', gone);
      request.once('close', gone);
    });
  }

  /** So many bytes are to be kept. */
  #take(bytes: number): void {
    if (bytes > POLICY_BODY_LIMIT_BYTES) throw tooLarge(POLICY_BODY_LIMIT_BYTES); // CHECK: admin-body-most
    if (bytes <= BODY_LIMIT_BYTES || this.#isLarge) return;
    this.#largeBodies.open();
    this.#isLarge = true;
  }
}

function tooLarge(limitBytes = BODY_LIMIT_BYTES): Refusal {
  return new Refusal(413, 'too-large', `a command has at most ${limitBytes} bytes`);
}

function commandOf(body: Buffer): AdminCommand {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    throw new Refusal(400, 'invalid', 'the body is not JSON'); // the parser's own text would repeat what was sent
  }
  try {
    return readCommand(value);
  } catch (error) {
    if (error instanceof CommandError) throw new Refusal(400, 'invalid', error.message);
    throw error;
  }
}

/** Bytes of JSON that are not inside of texts: they become objects, which take many times their size. */
function bytesOutsideTexts(body: Buffer): number {
  let outside = 0;
  for (let at = 0; ; ) {
    const start = body.indexOf(QUOTE, at);
    if (start < 0) return outside + body.length - at;
    outside += start + 1 - at;
    let end = body.indexOf(QUOTE, start + 1);
    while (end >= 0 && isEscaped(body, end)) end = body.indexOf(QUOTE, end + 1);
    if (end < 0) return outside; // no JSON
    outside++;
    at = end + 1;
  }
}

function isEscaped(body: Buffer, quote: number): boolean {
  let first = quote;
  while (body[first - 1] === BACKSLASH) first--;
  return (quote - first) % 2 === 1;
}
