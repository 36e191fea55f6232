/**
 * The relay of a server: DerpRelay (lib/derp) over sockets and WebSockets, one timer for all of it. Whether a node key is
 * let in, and into which tailnet, the coordinator says.
 */
import type { SecretKey } from '../../lib/crypto/keys.ts';
import type { CryptoSuite } from '../../lib/crypto/suite.ts';
import { DerpRelay } from '../../lib/derp/relay.ts';
import type { RelayEvent, RelayLimits, RelayStatus } from '../../lib/derp/relay-types.ts';
import type { Host, Timer } from '../../lib/ports.ts';
import { shortKey } from './short-key.ts';
import type { Pipe, PipeSink } from './relay-pipe.ts';
import type { Ticket } from './source-gate.ts';
import type { Log } from './types.ts';

/** What is written is gathered in pieces of this size. */
const SLAB_BYTES = 16_384;
/** A new one is begun when less than this is left of the last. */
const SLAB_LEAST_BYTES = 2048;

/** What a relay needs. */
export interface RelayHostOptions {
  readonly host: Pick<Host, 'clock' | 'random' | 'createTimer'>;
  readonly suite: CryptoSuite;
  readonly privateKey: SecretKey;
  readonly limits: Partial<RelayLimits>;
  /** The tailnet that a node key is a member of; undefined: it is not let in. */
  readonly tailnetOf: (nodeKey: Uint8Array) => string | undefined;
  readonly log: Log;
}

interface Client {
  readonly pipe: Pipe;
  readonly ticket: Ticket;
}

/** The relay; see the top of the file. */
export class RelayHost {
  readonly #relay: DerpRelay;
  readonly #options: RelayHostOptions;
  readonly #timer: Timer;
  readonly #clients = new Map<number, Client>();
  #slab = Buffer.alloc(0);
  #isSettling = false;

  constructor(options: RelayHostOptions) {
    const { host, suite, privateKey, limits } = options;
    this.#options = options;
    this.#relay = new DerpRelay({ random: host.random, suite, privateKey, limits });
    this.#timer = host.createTimer(() => {
      this.#relay.handleTimeout(this.#now());
      this.#settle();
    });
  }

  /** The relay's public key: 32 bytes. */
  get publicKey(): Uint8Array {
    return this.#relay.publicKey;
  }

  /** Counters and sizes. */
  status(): RelayStatus {
    return this.#relay.status();
  }

  /** A new connection, behind the HTTP answer. `connect` makes its pipe; false when there are too many already. */
  open(ticket: Ticket, connect: (sink: PipeSink) => Pipe): boolean {
    const id = this.#relay.open(this.#now());
    if (id < 0) return false; // CHECK: server-relay-full
    const pipe = connect({
      bytes: chunk => {
        this.#relay.handleBytes(this.#now(), id, chunk, 0, chunk.length);
        this.#settle();
      },
      writable: () => {
        this.#pump(id);
        this.#settle();
      },
      ended: () => {
        this.#relay.handleEnd(this.#now(), id);
        this.#clients.delete(id);
        this.#settle();
      },
    });
    this.#clients.set(id, { pipe, ticket });
    this.#settle();
    return true;
  }

  /** Closes all connections of a node that is no longer a member. */
  disconnect(tailnet: string, nodeKey: Uint8Array): void {
    this.#relay.disconnect(this.#now(), tailnet, nodeKey);
    this.#settle();
  }

  /** Closes everything. */
  close(): void {
    this.#timer.cancel();
    for (const { pipe } of this.#clients.values()) pipe.close();
    this.#clients.clear();
  }

  /** Does what the machine asks for, until it asks for nothing. */
  #settle(): void {
    if (this.#isSettling) return;
    this.#isSettling = true;
    for (let event = this.#relay.pollEvent(); event !== undefined; event = this.#relay.pollEvent())
      this.#handleEvent(event);
    for (let id = this.#relay.pollReady(); id >= 0; id = this.#relay.pollReady()) this.#pump(id);
    this.#isSettling = false;
    this.#timer.arm(this.#relay.nextTimeout());
  }

  #handleEvent(event: RelayEvent): void {
    const client = this.#clients.get(event.id);
    if (client === undefined) return;
    if (event.type === 'pause') return client.pipe.pause();
    if (event.type === 'resume') return client.pipe.resume();
    if (event.type === 'admission') return this.#admit(event.id, client, event.nodeKey);
    const { address } = client.ticket;
    this.#options.log('debug', 'relay: a connection is closed', { reason: event.reason, address });
    client.pipe.close();
    this.#clients.delete(event.id);
  }

  #admit(id: number, client: Client, nodeKey: Uint8Array): void {
    const tailnet = this.#options.tailnetOf(nodeKey);
    const fields = { node: shortKey(nodeKey), address: client.ticket.address };
    if (tailnet === undefined) this.#options.log('info', 'relay: not a member, sent away', fields);
    if (tailnet === undefined) return this.#relay.refuse(this.#now(), id); // CHECK: server-relay-admission
    client.ticket.prove();
    this.#relay.admit(this.#now(), id, tailnet);
  }

  /** Moves what waits for a client into its pipe, as far as that takes it. */
  #pump(id: number): void {
    const client = this.#clients.get(id);
    while (client !== undefined && !client.pipe.isFull) {
      if (this.#slab.length < SLAB_LEAST_BYTES) this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      const length = this.#relay.pollBytes(this.#now(), id, this.#slab, 0, this.#slab.length);
      if (length === 0) return;
      client.pipe.write(this.#slab.subarray(0, length));
      this.#slab = this.#slab.subarray(length);
    }
  }

  #now(): number {
    return this.#options.host.clock.nowMs();
  }
}
