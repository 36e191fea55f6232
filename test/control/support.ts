/** Helpers of the control tests: keys, and both ends of a control connection with the bytes between them. */
import { SecretKey } from '../../lib/crypto/keys.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { ByteFifo } from '../../lib/control/byte-fifo.ts';
import type { NetError } from '../../lib/base/errors.ts';
import { ControlResponder, type ControlResponderOptions, type ResponderLimits } from '../../lib/control/responder.ts';
import { ControlTransport, type ControlTransportOptions, type TransportLimits } from '../../lib/control/transport.ts';
import { answerControlRequest } from '../../lib/control/upgrade.ts';
import { utf8Decode } from '../../lib/base/bytes.ts';

/** The suite of all control tests. */
export const noble = createNobleSuite();

/** A secret of 32 times `byte`. */
export function secretOf(byte: number): SecretKey {
  return SecretKey.fromBytes(new Uint8Array(32).fill(byte));
}

/** The public key of {@link secretOf}. */
export function publicOf(byte: number): Uint8Array {
  const out = new Uint8Array(32);
  noble.publicKey(out, new Uint8Array(32).fill(byte));
  return out;
}

/** The client's end with queues for the plaintext of both directions, so that it can be used as a responder is. */
export class ClientEnd {
  readonly #transport: ControlTransport;
  readonly #received = new ByteFifo(1_000_000);
  readonly #sending = new ByteFifo(100_000);

  constructor(options: ControlTransportOptions) {
    this.#transport = new ControlTransport(options);
  }

  get error(): NetError | undefined {
    return this.#transport.error;
  }

  get isEstablished(): boolean {
    return this.#transport.isEstablished;
  }

  /** Memory of the transport itself. */
  get heldBytes(): number {
    return this.#transport.heldBytes;
  }

  get receiveRoom(): number {
    return this.error === undefined ? this.#received.room : 0;
  }

  handleBytes(nowMs: number, buf: Uint8Array, start: number, end: number): number {
    for (let at = start; at < end; ) {
      at = this.#transport.handleBytes(nowMs, buf, at, end);
      if (at < 0) return at;
      const plain = this.#transport.takePlain();
      if (plain !== undefined) this.#received.push(plain, 0, plain.length);
    }
    return 0;
  }

  handleEnd(nowMs: number): void {
    this.#transport.handleEnd(nowMs);
  }

  pollBytes(out: Uint8Array, start: number, end: number): number {
    return this.#transport.pollBytes(this.#sending, out, start, end);
  }

  handlePlain(_nowMs: number, buf: Uint8Array, start: number, end: number): number {
    return this.#sending.push(buf, start, end);
  }

  pollPlain(out: Uint8Array, start: number, end: number): number {
    return this.#received.pollBytes(out, start, end);
  }

  handleTimeout(nowMs: number): void {
    this.#transport.handleTimeout(nowMs);
  }

  nextTimeout(): number {
    return this.#transport.nextTimeout();
  }

  close(): void {
    this.#transport.close();
  }
}

/** The client of the reference's vector: version 145, keys of 0x11 and 0x22, server 0x33. */
export function makeClient(options: Partial<ControlTransportOptions> = {}): ClientEnd {
  return new ClientEnd({
    nowMs: 0,
    suite: noble,
    random: out => void out.fill(0x22),
    machineKey: secretOf(0x11),
    serverKey: publicOf(0x33),
    host: 'control.test',
    version: 145,
    ...options,
  });
}

/** The server of the reference's vector. */
export function makeServer(options: Partial<ControlResponderOptions> = {}): ControlResponder {
  return new ControlResponder({
    nowMs: 0,
    suite: noble,
    random: out => void out.fill(0x44),
    privateKey: secretOf(0x33),
    publicKey: publicOf(0x33),
    ...options,
  });
}

interface Sender {
  pollBytes(out: Uint8Array, start: number, end: number): number;
}

/** Everything that an end has to send now, asked for in pieces of `room`. */
export function sent(end: Sender, room = 5000): Uint8Array {
  const parts: number[] = [];
  const out = new Uint8Array(room);
  for (let n = end.pollBytes(out, 0, room); n > 0; n = end.pollBytes(out, 0, room)) parts.push(...out.subarray(0, n));
  return Uint8Array.from(parts);
}

interface Receiver {
  readonly receiveRoom: number;
  handleBytes(nowMs: number, buf: Uint8Array, start: number, end: number): number;
  pollPlain(out: Uint8Array, start: number, end: number): number;
}

/** Everything that waits inside. */
export function plainOf(end: Receiver): Uint8Array {
  return sent({ pollBytes: (out, start, stop) => end.pollPlain(out, start, stop) });
}

/** Feeds bytes in pieces of `size` as room allows; returns the plaintext that came out and the last result. */
export function feed(end: Receiver, bytes: Uint8Array, size = bytes.length): { plain: Uint8Array; result: number } {
  const plain: number[] = [];
  let result = 0;
  for (let at = 0; at < bytes.length && result === 0; ) {
    const piece = bytes.slice(at, at + Math.min(size, end.receiveRoom));
    result = end.handleBytes(0, piece, 0, piece.length);
    piece.fill(0xee); // lent for the call only
    plain.push(...plainOf(end));
    at += piece.length;
  }
  return { plain: Uint8Array.from(plain), result };
}

/** The initiation of a client's upgrade request and the head that answers it. */
export function upgradeOf(request: Uint8Array): { initiation: Uint8Array; head: Uint8Array } {
  const lines = utf8Decode(request).split('\r\n').slice(1, -2);
  const headers = Object.fromEntries(lines.map(line => [line.split(': ')[0]!.toLowerCase(), line.split(': ')[1]!]));
  const answer = answerControlRequest({ method: 'POST', headers });
  if (answer.type !== 'upgrade') throw new Error(answer.body);
  return answer;
}

/** Both ends after the handshake, and the bytes that the server sent for it. */
export function connect(
  options: Partial<ControlTransportOptions> = {},
  limits: Partial<TransportLimits & ResponderLimits> = {},
): { client: ClientEnd; server: ControlResponder; handshake: Uint8Array } {
  const client = makeClient({ limits, ...options });
  const { initiation, head } = upgradeOf(sent(client));
  const server = makeServer({ initiation, limits });
  const handshake = Uint8Array.from([...head, ...sent(server)]);
  feed(client, handshake);
  return { client, server, handshake };
}
