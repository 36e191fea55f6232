/** TCP connections to several addresses of one host, raced as RFC 8305 §5 says: the first that stands wins. */
import { connect, type Socket } from 'node:net';

/** How long an address has for itself before the next one is tried beside it (RFC 8305 §5). */
const HEAD_START_MS = 250;
/** What says least about the other side comes last. */
const UNREACHABLE = /^(ENETUNREACH|EHOSTUNREACH|EADDRNOTAVAIL|EAFNOSUPPORT|EINVAL)$/;

/** Who is told how the race ended; at most one call, never before the constructor has returned. */
export interface AttemptsEnd {
  /** The first connection, half-open allowed; its errors are the receiver's from now on. */
  connected(socket: Socket): void;
  /** None stands: the most telling of the errors. */
  failed(error: Error): void;
}

/** A race of connections. */
export class Attempts {
  readonly #waiting: string[];
  readonly #port: number;
  readonly #end: AttemptsEnd;
  readonly #running = new Set<Socket>();
  readonly #errors: Error[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isOver = false;

  /** `addresses` are IP addresses, best first; at least one. */
  constructor(addresses: readonly string[], port: number, end: AttemptsEnd) {
    this.#waiting = [...addresses];
    this.#port = port;
    this.#end = end;
    this.#next();
  }

  /** Gives up; no call follows. */
  cancel(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    for (const socket of this.#running) socket.destroy();
    this.#running.clear();
  }

  #next(): void {
    clearTimeout(this.#timer);
    const host = this.#waiting.shift();
    if (host === undefined) return;
    if (this.#waiting.length > 0) this.#timer = setTimeout(() => this.#next(), HEAD_START_MS);
    const socket = connect({ host, port: this.#port, allowHalfOpen: true, noDelay: true });
    this.#running.add(socket);
    const fail = (error: Error) => this.#lose(socket, error);
    socket.on('error', fail);
    socket.once('connect', () => {
      if (this.#isOver) return;
      this.#running.delete(socket);
      this.cancel();
      this.#end.connected(socket);
      socket.off('error', fail);
    });
  }

  #lose(socket: Socket, error: Error): void {
    if (this.#isOver) return;
    this.#running.delete(socket);
    socket.destroy();
    this.#errors.push(error);
    if (this.#waiting.length > 0) return this.#next();
    if (this.#running.size > 0) return;
    this.#isOver = true;
    const isTelling = (one: Error) => !UNREACHABLE.test((one as { code?: string }).code ?? '');
    this.#end.failed(this.#errors.find(isTelling) ?? this.#errors[0]!);
  }
}
