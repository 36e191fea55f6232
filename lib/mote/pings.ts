/** Echo requests whose answer somebody waits for. */
import { NetError } from '../base/errors.ts';
import type { EchoErrorEvent, EchoReplyEvent } from '../netstack/events.ts';

/** Where timers come from. */
export interface PingOwner {
  /** Runs something once after `ms`, unless the returned function is called before. */
  delay(ms: number, run: () => void): () => void;
}

interface Waiting {
  readonly resolve: (ms: number) => void;
  readonly reject: (error: NetError) => void;
}

/** Matches answers with requests by identifier and sequence number. */
export class Pings {
  readonly #owner: PingOwner;
  readonly #waiting = new Map<number, Waiting>();
  /** Never 0: the reply to an empty request with id and sequence 0 is all zeros, and Linux sends it with a wrong checksum. */
  #next = 1;

  constructor(owner: PingOwner) {
    this.#owner = owner;
  }

  /** Sends one request; resolves with the round-trip time in ms, rejects with `ERR_TIMED_OUT` or what was heard. */
  start(host: string, timeoutMs: number, send: (id: number, sequence: number) => void): Promise<number> {
    const token = this.#next;
    this.#next = (token + 1) >>> 0 || 1;
    return new Promise((resolve, reject) => {
      const settle = () => {
        cancel();
        this.#waiting.delete(token);
      };
      const cancel = this.#owner.delay(timeoutMs, () => {
        settle();
        reject(new NetError('ERR_TIMED_OUT', `${host} did not answer an echo request within ${timeoutMs} ms`));
      });
      this.#waiting.set(token, {
        resolve: ms => {
          settle();
          resolve(ms);
        },
        reject: error => {
          settle();
          reject(error);
        },
      });
      try {
        send(token >>> 16, token & 0xffff);
      } catch (error) {
        settle();
        throw error;
      }
    });
  }

  /** Nobody will answer any more: rejects all that wait. */
  close(error: NetError): void {
    for (const { reject } of [...this.#waiting.values()]) reject(error);
  }

  /** An answer or an error came back; one that nobody waits for is ignored. */
  handleEcho(event: EchoReplyEvent | EchoErrorEvent): void {
    const waiting = this.#waiting.get(((event.id << 16) | event.sequence) >>> 0);
    if (event.type === 'echo-reply') waiting?.resolve(event.rttMs);
    else
      waiting?.reject(
        new NetError(event.code, `${event.to} cannot be reached: no peer carries this address, or it said so`),
      );
  }
}
