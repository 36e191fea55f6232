/**
 * Where peers are outside: turns `host:port` into UDP addresses, retries names that do not resolve, and resolves
 * again when a peer stops answering (its dynamic name may have moved).
 */
import { canonicalAddress, type Endpoint } from '../base/address.ts';
import { NetError } from '../base/errors.ts';

/** Wait before a failed look-up is tried again, doubled each time up to the maximum. */
const RETRY_MS = 5_000;
const RETRY_MAX_MS = 60_000;

/** A configured endpoint: an address or a name. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** What the keeper needs. */
export interface EndpointKeeperContext {
  resolve(name: string): Promise<readonly string[]>;
  /** Runs once after `ms` unless the returned function is called. */
  delay(ms: number, run: () => void): () => void;
  /** A peer's address is known. */
  found(peer: number, endpoint: Endpoint): void;
  /** A name did not resolve; it is tried again. */
  failed(error: NetError): void;
}

interface Entry {
  readonly configured: HostPort;
  /** How many addresses have been tried: the next look-up takes the next of the list. */
  attempts: number;
  cancelRetry: (() => void) | undefined;
}

/** Keeps the endpoints of all peers that have one configured. */
export class EndpointKeeper {
  readonly #context: EndpointKeeperContext;
  readonly #names = new Map<number, Entry>();

  constructor(context: EndpointKeeperContext) {
    this.#context = context;
  }

  /** Takes (or replaces) a peer's endpoint: an address counts at once, a name when it has resolved. */
  add(peer: number, configured: HostPort): void {
    this.remove(peer);
    const address = canonicalAddress(configured.host);
    if (address !== undefined) {
      this.#context.found(peer, Object.freeze({ address, port: configured.port }));
      return;
    }
    const entry: Entry = { configured, attempts: 0, cancelRetry: undefined };
    this.#names.set(peer, entry);
    void this.#resolve(peer, entry, RETRY_MS);
  }

  /** Resolves a peer's name again; a peer with a plain address is left alone. */
  refresh(peer: number): void {
    const entry = this.#names.get(peer);
    if (entry !== undefined && entry.cancelRetry === undefined) void this.#resolve(peer, entry, RETRY_MS);
  }

  /** Forgets a peer. */
  remove(peer: number): void {
    this.#names.get(peer)?.cancelRetry?.();
    this.#names.delete(peer);
  }

  /** Forgets all peers; a look-up that is under way ends without effect. */
  close(): void {
    for (const peer of [...this.#names.keys()]) this.remove(peer);
  }

  async #resolve(peer: number, entry: Entry, retryMs: number): Promise<void> {
    entry.cancelRetry = undefined;
    const { host, port } = entry.configured;
    try {
      const addresses = await this.#context.resolve(host);
      if (addresses.length === 0) throw new NetError('ERR_NAME_NOT_FOUND', `'${host}' has no address`);
      const address = canonicalAddress(addresses[entry.attempts++ % addresses.length]!);
      if (this.#names.get(peer) === entry && address !== undefined)
        this.#context.found(peer, Object.freeze({ address, port }));
    } catch (cause) {
      if (this.#names.get(peer) !== entry) return;
      const message = `the endpoint '${host}' does not resolve; next try in ${retryMs / 1000} s`;
      this.#context.failed(new NetError('ERR_NAME_NOT_FOUND', message, { cause }));
      entry.cancelRetry = this.#context.delay(
        retryMs,
        () => void this.#resolve(peer, entry, Math.min(retryMs * 2, RETRY_MAX_MS)),
      );
    }
  }
}
