/**
 * A publisher for MQTT 3.1.1 over any ECMA-419 TCP: CONNECT, PUBLISH with QoS 0, PINGREQ. It connects again, each time
 * after a longer wait. Left out: subscriptions, QoS 1 and 2, passwords (the tailnet says who may connect).
 */
import { ascii, type Io, type Tcp, type Timers } from './standard.ts';

const CONNECT = 0x10;
const CONNACK = 0x20;
const PUBLISH = 0x30;
const PINGREQ = 0xc0;
const KEEP_ALIVE_S = 60;
const PING_MS = 30_000;
const ANSWER_MS = 10_000;
const FIRST_RETRY_MS = 2000;
const MAX_RETRY_MS = 120_000;

/** What {@link MqttPublisher} takes. */
export interface MqttOptions {
  readonly host: string;
  readonly port?: number;
  /** Client identifier, ASCII. */
  readonly id: string;
  readonly io: Io;
  readonly timers: Timers;
  log(text: string): void;
}

/** A connection to a broker that is kept up. */
export class MqttPublisher {
  readonly #options: MqttOptions;
  #tcp: Tcp | undefined;
  #hasGreeted = false;
  #isAccepted = false;
  #room = 0;
  #retryMs = FIRST_RETRY_MS;
  #timer: unknown;
  #isClosed = false;

  /** Connects soon. */
  constructor(options: MqttOptions) {
    this.#options = options;
    this.#connect();
  }

  /** Whether the broker has accepted the connection that stands. */
  get isConnected(): boolean {
    return this.#isAccepted;
  }

  /** Sends a retained message; false when there is no connection, or no room: then it is lost, as QoS 0 may be. */
  publish(topic: string, payload: string): boolean {
    const name = ascii(topic);
    const body = ascii(payload);
    return this.#isAccepted && this.#send(packet(PUBLISH | 1, [name.length >> 8, name.length & 255], name, body));
  }

  /** Ends for good. */
  close(): void {
    this.#isClosed = true;
    this.#drop();
  }

  #connect(): void {
    const { host, port = 1883, io } = this.#options;
    const resolver = new io.Resolver({});
    this.#wait(ANSWER_MS, () => this.#retry('does not answer'));
    resolver.resolve({
      host,
      onResolved: (_name, address) => {
        if (this.#isClosed) return;
        this.#tcp = new io.TCP({
          address,
          port,
          onWritable: bytes => this.#handleWritable(bytes),
          onReadable: () => this.#handleReadable(),
          onError: () => this.#retry('is gone'),
        });
      },
      onError: () => this.#retry('has no address'),
    });
  }

  #handleWritable(bytes: number): void {
    this.#room = bytes;
    if (this.#hasGreeted) return;
    this.#hasGreeted = true;
    const id = ascii(this.#options.id);
    const head = [0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, KEEP_ALIVE_S, id.length >> 8, id.length & 255];
    this.#send(packet(CONNECT, head, id));
  }

  #handleReadable(): void {
    const got = new Uint8Array(this.#tcp!.read() as ArrayBuffer);
    if (this.#isAccepted) return; // answers to pings
    if (got[0] !== CONNACK || got[3] !== 0) return this.#retry(`refused the connection (${got[3] ?? 'no answer'})`);
    this.#isAccepted = true;
    this.#retryMs = FIRST_RETRY_MS;
    this.#options.log(`mqtt: connected to ${this.#options.host}`);
    this.#ping();
  }

  #ping(): void {
    this.#wait(PING_MS, () => {
      this.#send(packet(PINGREQ, []));
      this.#ping();
    });
  }

  #send(bytes: Uint8Array): boolean {
    if (this.#tcp === undefined || bytes.length > this.#room) return false;
    this.#room = this.#tcp.write(bytes);
    return true;
  }

  #retry(why: string): void {
    if (this.#isClosed) return;
    this.#drop();
    this.#options.log(`mqtt: ${this.#options.host} ${why}, again in ${this.#retryMs / 1000} s`);
    this.#wait(this.#retryMs, () => this.#connect());
    this.#retryMs = Math.min(MAX_RETRY_MS, this.#retryMs * 2);
  }

  #drop(): void {
    this.#options.timers.clear(this.#timer);
    this.#timer = undefined;
    this.#hasGreeted = false;
    this.#isAccepted = false;
    this.#room = 0;
    this.#tcp?.close();
    this.#tcp = undefined;
  }

  #wait(ms: number, run: () => void): void {
    if (this.#timer !== undefined) this.#options.timers.clear(this.#timer);
    this.#timer = this.#options.timers.set(() => {
      this.#timer = undefined;
      run();
    }, ms);
  }
}

/** A packet of a type, with its length in front (MQTT 3.1.1 §2.2.3). */
function packet(type: number, head: readonly number[], ...parts: readonly Uint8Array[]): Uint8Array {
  let length = parts.reduce((sum, part) => sum + part.length, head.length);
  const bytes = [type];
  for (; length > 127; length = length >> 7) bytes.push((length & 127) | 128);
  bytes.push(length, ...head);
  for (const part of parts) bytes.push(...part);
  return Uint8Array.from(bytes);
}
