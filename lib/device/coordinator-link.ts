/**
 * The way to the coordinator: the control client, the fetching of the coordinator's key, and the streams that both use.
 *
 * Left out: what the client's news mean, which is the tailnet's business.
 */
import { NetError } from '../base/errors.ts';
import type { ControlClient } from '../control/client.ts';
import type { ControlClientEvent } from '../control/client-types.ts';
import { KeyFetch } from './key-fetch.ts';
import type { StreamRequest, Streams, StreamUser } from './streams.ts';

/** Where a coordinator is. */
export interface CoordinatorAddress {
  readonly host: string;
  readonly port: number;
  /** TLS, whose certificate is verified for `host`. */
  readonly isSecure: boolean;
  /** What stands in Host headers. */
  readonly authority: string;
  /** Path in front of `/key` and `/ts2021`, empty or `/prefix`. */
  readonly path: string;
}

/** Who knows the time of day. */
export interface WallClock {
  /** Milliseconds since 1970. */
  unixMs(nowMs: number): number;
}

/** Tells coordinators apart. */
export function controlName({ authority, path, isSecure }: CoordinatorAddress): string {
  return `${isSecure ? 'https' : 'http'}://${authority}${path}`;
}

/** News for the tailnet: what the link does not settle itself. */
export type LinkEvent = Exclude<ControlClientEvent, { type: 'fetch-key' | 'connect' | 'disconnect' }>;

/** One control client on the streams of a device. */
export class CoordinatorLink implements StreamUser {
  readonly #client: ControlClient;
  readonly #streams: Streams;
  readonly #address: CoordinatorAddress;
  readonly #clock: WallClock;
  #keyFetch: KeyFetch | undefined;
  #streamId = 0;
  /** Why the key could not be fetched: the client knows only that it was not. */
  #fetchError: NetError | undefined;

  constructor(client: ControlClient, streams: Streams, address: CoordinatorAddress, clock: WallClock) {
    this.#client = client;
    this.#streams = streams;
    this.#address = address;
    this.#clock = clock;
  }

  /** Tells this coordinator from others. */
  get control(): string {
    return controlName(this.#address);
  }

  /** The next event that is not about streams. */
  pollEvent(nowMs: number): LinkEvent | undefined {
    this.#settleKey(nowMs);
    for (let event = this.#client.pollEvent(); event !== undefined; event = this.#client.pollEvent()) {
      switch (event.type) {
        case 'fetch-key':
          this.#fetchKey(nowMs);
          break;
        case 'connect':
          this.#close();
          this.#streamId = this.#streams.open(this.#request(), this);
          break;
        case 'disconnect':
          this.#close();
          break;
        case 'error': {
          const error = this.#fetchError ?? event.error;
          this.#fetchError = undefined;
          return { ...event, error };
        }
        default:
          return event;
      }
    }
    return undefined;
  }

  /** When {@link handleTimeout} wants to be called. */
  nextTimeout(): number {
    return Math.min(this.#client.nextTimeout(), this.#keyFetch?.nextTimeout() ?? Number.POSITIVE_INFINITY);
  }

  /** Lets due timers act. */
  handleTimeout(nowMs: number): void {
    this.#keyFetch?.handleTimeout(nowMs);
    this.#settleKey(nowMs);
    this.#client.handleTimeout(nowMs, this.#clock.unixMs(nowMs));
  }

  handleOpened(nowMs: number): void {
    this.#client.handleOpened(nowMs);
  }

  handleBytes(nowMs: number, buf: Uint8Array, start: number, end: number): void {
    this.#client.handleBytes(nowMs, this.#clock.unixMs(nowMs), buf, start, end);
  }

  handleEnd(nowMs: number): void {
    this.#streamId = 0;
    this.#client.handleEnd(nowMs);
  }

  handleFailed(nowMs: number, error: NetError): void {
    this.#streamId = 0;
    this.#client.handleFailed(nowMs, error);
  }

  pollBytes(nowMs: number, out: Uint8Array, start: number, end: number): number {
    return this.#client.pollBytes(nowMs, out, start, end);
  }

  /** The network has changed: the connection is given up and made anew. */
  reconnect(nowMs: number): void {
    if (this.#streamId === 0) return;
    this.#close();
    this.#client.handleFailed(nowMs, new NetError('ERR_CONNECTION_RESET', 'the network has changed'));
  }

  /** Gives up what is under way. */
  close(): void {
    this.#keyFetch?.cancel();
    this.#keyFetch = undefined;
    this.#close();
  }

  #request(): StreamRequest {
    const { host, port, isSecure } = this.#address;
    return { host, port, ...(isSecure ? { tls: { serverName: host } } : {}) };
  }

  #fetchKey(nowMs: number): void {
    this.#keyFetch?.cancel();
    const { authority, path } = this.#address;
    this.#keyFetch = new KeyFetch(nowMs, this.#streams, this.#request(), authority, path);
  }

  #settleKey(nowMs: number): void {
    const fetch = this.#keyFetch;
    if (fetch === undefined || !fetch.isDone) return;
    this.#keyFetch = undefined;
    this.#fetchError = fetch.error;
    this.#client.handleServerKey(nowMs, fetch.body);
  }

  #close(): void {
    if (this.#streamId !== 0) this.#streams.close(this.#streamId);
    this.#streamId = 0;
  }
}
