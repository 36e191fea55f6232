/**
 * Outgoing TCP and TLS over `node:net` and `node:tls`, for Node and for what imitates it.
 *
 * Several addresses are tried in turn, the next one when the last has failed or is slow (RFC 8305 §5). A certificate is
 * verified by the runtime, or compared with a pin; nothing is sent to the application's sink, and nothing of it to the
 * other side, before that. Left out: client certificates, ALPN, session resumption.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP, type Socket } from 'node:net';
import * as tls from 'node:tls';
import { NetError } from '../../lib/base/errors.ts';
import { env } from 'node:process';
import type { Duplex } from 'node:stream';
import type { HostStream, StreamOptions, StreamSink, StreamTlsOptions } from '../../lib/ports.ts';
import { Attempts } from './attempts.ts';
import { resolveName } from './names.ts';
import { streamError, tlsError } from './stream-errors.ts';

/** What the process holds of a stream's output, beside the kernel. */
const OUTPUT_BYTES = 256 * 1024;
const TIMEOUT_MS = 10_000;
/** How long a closed stream may take to send its rest and see the other side's end. */
const LINGER_MS = 10_000;
const PIN_BYTES = 32;

/** A connection beneath TLS, for a runtime whose TLS does not stop reading when it is paused. */
export interface Gate extends Duplex {
  /** Reads no more from the connection. */
  hold(): void;
  /** Reads again. */
  release(): void;
  /** Lets the process end while the connection is open. */
  unref(): void;
}

/**
 * Opens a stream as `Host.openStream` says. Throws RangeError for a port outside 1 to 65535, an address that is none
 * and a pin that is not 32 bytes. `createGate` gives what TLS is spoken over, where that is not the socket itself.
 */
export function openNodeStream(
  options: StreamOptions,
  sink: StreamSink,
  createGate?: (socket: Socket) => Gate,
): HostStream {
  const { port, addresses = [], tls: secure } = options;
  if (!Number.isInteger(port) || port < 1 || port > 65535)
    throw new RangeError(`"port" expected 1 to 65535, got ${port}`);
  const wrong = addresses.find(address => isIP(address) === 0);
  if (wrong !== undefined) throw new RangeError(`"addresses" expected IP addresses, got ${wrong}`);
  if (secure?.pin !== undefined && secure.pin.length !== PIN_BYTES)
    throw new RangeError(`"pin" expected ${PIN_BYTES} bytes, got ${secure.pin.length}`);
  return new NodeStream(options, sink, createGate);
}

class NodeStream implements HostStream {
  readonly #options: StreamOptions;
  readonly #sink: StreamSink;
  readonly #createGate: ((socket: Socket) => Gate) | undefined;
  #gate: Gate | undefined;
  #attempts: Attempts | undefined;
  /** The connected socket, TLS around it from the start of the handshake on. */
  #socket: Socket | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #isOpen = false;
  /** Closed or failed: no sink call any more. */
  #isDone = false;
  #isPaused = false;
  #owesWritable = false;

  constructor(options: StreamOptions, sink: StreamSink, createGate?: (socket: Socket) => Gate) {
    this.#options = options;
    this.#sink = sink;
    this.#createGate = createGate;
    const { timeoutMs = TIMEOUT_MS } = options;
    this.#deadline = setTimeout(() => {
      this.#fail(new NetError('ERR_TIMED_OUT', `${this.#target} did not answer within ${timeoutMs} ms`));
    }, timeoutMs);
    const known = options.addresses ?? (isIP(options.host) === 0 ? undefined : [options.host]);
    if (known === undefined) void this.#resolve();
    else this.#connect(known);
  }

  get #target(): string {
    return `${this.#options.host} port ${this.#options.port}`;
  }

  async #resolve(): Promise<void> {
    try {
      const addresses = await resolveName(this.#options.host);
      if (!this.#isDone) this.#connect(alternate(addresses));
    } catch (error) {
      this.#fail(error as NetError);
    }
  }

  #connect(addresses: readonly string[]): void {
    this.#attempts = new Attempts(addresses, this.#options.port, {
      connected: socket => {
        this.#attempts = undefined;
        if (this.#options.tls === undefined) this.#open(socket);
        else this.#secure(socket, this.#options.tls);
      },
      failed: error => this.#fail(streamError(error, `cannot connect to ${this.#target}`)),
    });
  }

  /** TLS over the connected socket. INVARIANT: `#open` is reached only by a certificate that passed. */
  #secure(socket: Socket, options: StreamTlsOptions): void {
    this.#gate = this.#createGate?.(socket);
    const secured = tls.connect({ ...tlsOptions(options), socket: this.#gate ?? socket });
    this.#socket = secured;
    const refuse = (error: Error) => this.#fail(tlsError(error, options.serverName));
    secured.once('error', refuse);
    secured.once('close', () => refuse(new Error('the connection ended during the TLS handshake')));
    secured.once('secureConnect', () => {
      if (this.#isDone) return;
      const problem = options.pin === undefined ? unverified(secured) : unpinned(secured, options.pin);
      if (problem !== undefined) return refuse(problem); // CHECK: stream-certificate
      secured.removeAllListeners('close');
      secured.off('error', refuse);
      secured.disableRenegotiation?.();
      this.#open(secured);
    });
  }

  #open(socket: Socket): void {
    clearTimeout(this.#deadline);
    this.#socket = socket;
    this.#isOpen = true;
    const fail = (error: Error) => this.#fail(streamError(error, `the connection to ${this.#target} failed`));
    socket.on('error', fail);
    socket.on('close', () => fail(new Error('it was closed')));
    socket.on('drain', () => {
      if (this.#isDone || !this.#owesWritable) return;
      this.#owesWritable = false;
      this.#sink.writable();
    });
    socket.on('end', () => {
      if (!this.#isDone) this.#sink.ended();
    });
    this.#sink.opened();
    // INVARIANT: the chunk belongs to this call alone; as a plain array, because a Buffer's `slice` shares memory.
    socket.on('data', (chunk: Uint8Array) => {
      if (this.#isDone) return;
      this.#sink.bytes(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length), 0, chunk.length);
    });
    if (this.#isPaused) this.pause();
  }

  write(buf: Uint8Array, start: number, end: number): number {
    const socket = this.#socket;
    if (socket === undefined || !this.#isOpen || this.#isDone) return 0;
    const length = Math.min(end - start, Math.max(0, OUTPUT_BYTES - socket.writableLength));
    if (length > 0) socket.write(Buffer.from(buf.subarray(start, start + length)));
    if (length < end - start) this.#owesWritable = true;
    return length;
  }

  pause(): void {
    this.#isPaused = true;
    if (!this.#isOpen || this.#isDone) return;
    this.#socket!.pause();
    this.#gate?.hold();
  }

  resume(): void {
    this.#isPaused = false;
    if (!this.#isOpen || this.#isDone) return;
    this.#gate?.release();
    this.#socket!.resume();
  }

  close(): void {
    if (this.#isDone) return;
    this.#finish();
    const socket = this.#socket;
    if (!this.#isOpen || socket === undefined) return this.#drop();
    // What still comes is read and dropped: unread input would turn the end into a reset, which loses what was sent.
    const timer = setTimeout(() => socket.destroy(), LINGER_MS);
    socket.once('close', () => clearTimeout(timer));
    socket.once('finish', () => {
      (this.#gate ?? socket).unref();
      timer.unref();
    });
    this.#gate?.release();
    socket.resume();
    socket.end();
  }

  #fail(error: NetError): void {
    if (this.#isDone) return;
    this.#finish();
    this.#drop();
    this.#sink.failed(error);
  }

  #finish(): void {
    this.#isDone = true;
    clearTimeout(this.#deadline);
  }

  #drop(): void {
    this.#attempts?.cancel();
    this.#socket?.on('error', () => undefined);
    this.#socket?.destroy();
  }
}

function tlsOptions(options: StreamTlsOptions): tls.ConnectionOptions {
  const { serverName, pin, authorities } = options;
  return {
    host: serverName,
    ...(isIP(serverName) === 0 ? { servername: serverName } : {}),
    ...(authorities === undefined ? {} : { ca: [...trusted(), authorities] }),
    minVersion: 'TLSv1.2',
    // A pinned certificate may be signed by anybody: `unpinned` is then what decides.
    rejectUnauthorized: pin === undefined,
  };
}

/** What the runtime trusts, what its user has added to it included. */
function trusted(): readonly string[] {
  const { getCACertificates } = tls as { getCACertificates?: (type: 'default') => string[] };
  if (getCACertificates !== undefined) return getCACertificates('default');
  const added = env.NODE_EXTRA_CA_CERTS; // before Node 22.15 there is no asking for what that variable brought
  try {
    return added ? [...tls.rootCertificates, readFileSync(added, 'utf8')] : tls.rootCertificates;
  } catch {
    return tls.rootCertificates; // Node itself warns
  }
}

function unverified(socket: tls.TLSSocket): Error | undefined {
  if (socket.authorized) return undefined;
  return new Error(`its certificate is not valid (${socket.authorizationError})`);
}

function unpinned(socket: tls.TLSSocket, pin: Uint8Array): Error | undefined {
  const { raw } = socket.getPeerCertificate() as { raw?: Uint8Array };
  if (raw === undefined) return new Error('it showed no certificate');
  const digest = createHash('sha256').update(raw).digest();
  return timingSafeEqual(digest, pin) ? undefined : new Error('its certificate is not the one that is pinned');
}

/** The same addresses with the families taking turns, the first one's first (RFC 8305 §4). */
function alternate(addresses: readonly string[]): string[] {
  const isFirstV6 = addresses[0]!.includes(':');
  const first = addresses.filter(address => address.includes(':') === isFirstV6);
  const second = addresses.filter(address => address.includes(':') !== isFirstV6);
  return first.flatMap((address, i) => [address, ...second.slice(i, i + 1)]).concat(second.slice(first.length));
}
