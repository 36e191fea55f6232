/**
 * A tailnet in a world: a coordinator, two relays with STUN at other addresses, and whole motes on its hosts. Test-only.
 */
import type { CryptoSuite } from '../../lib/crypto/suite.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { createWasmSuite } from '../../lib/crypto/wasm.ts';
import { ALL_PARTS } from '../../lib/device/parts.ts';
import { Mote } from '../../lib/mote/mote.ts';
import type { TailnetMoteOptions } from '../../lib/mote/tailnet-options.ts';
import { MemoryCoordinator } from './memory-coordinator.ts';
import { MemoryRelay } from './memory-relay.ts';
import { World } from './world.ts';
import type { WorldHost } from './world-host.ts';

export const CONTROL_ADDRESS = '192.0.2.1';
/** Relays, by region: where they are, and how far from the internet's middle. */
const RELAYS = [
  { region: 901, address: '192.0.2.11', address6: '2001:db8:2::11', delayMs: 5 },
  { region: 902, address: '192.0.2.12', address6: '2001:db8:2::12', delayMs: 15 },
] as const;
const JOIN_LIMIT_MS = 60_000;

/** A world with a tailnet. */
export class TailnetWorld {
  readonly world: World;
  readonly suite: CryptoSuite;
  readonly coordinator: MemoryCoordinator;
  readonly relays: readonly MemoryRelay[];
  readonly motes: Mote[] = [];

  constructor(seed: number, suite = createWasmSuite() ?? createNobleSuite()) {
    this.suite = suite;
    this.world = new World(seed);
    const { world } = this;
    const network = {
      get nowMs() {
        return world.nowMs;
      },
      host: (address: string) => world.hostAt(address).port,
      streams: world.streams,
    };
    world.host('coordinator', world.internet, [CONTROL_ADDRESS], { delayMs: 5 });
    this.relays = RELAYS.map(({ delayMs, ...place }) => {
      world.host(`relay-${place.region}`, world.internet, [place.address, place.address6], { delayMs });
      return new MemoryRelay(network, { ...place, suite });
    });
    const options = { suite, relays: this.relays, keepsSentBytes: false };
    this.coordinator = new MemoryCoordinator(network, CONTROL_ADDRESS, options);
    for (const relay of this.relays) relay.start();
  }

  /** A mote on a host; the promise settles as time passes. */
  async join(host: WorldHost, options: Partial<TailnetMoteOptions> = {}): Promise<Mote> {
    const authKey = this.coordinator.authKey();
    const own = { control: this.coordinator.url, name: host.name, authKey, ...options };
    const mote = await Mote.up(host.port, this.suite, own, ALL_PARTS);
    this.motes.push(mote);
    return mote;
  }

  /** All of these, joined; `options` by their index. */
  async joinAll(
    hosts: readonly WorldHost[],
    options: (index: number) => Partial<TailnetMoteOptions> = () => ({}),
  ): Promise<Mote[]> {
    const joining = Promise.all(hosts.map((host, i) => this.join(host, options(i))));
    return this.world.clock.until(joining, JOIN_LIMIT_MS);
  }

  /** A relay that is killed: its connections are reset, and nothing listens. */
  killRelay(region: number): void {
    const relay = this.#relay(region);
    relay.kill();
    this.world.streams.reset(relay.options.address);
  }

  restartRelay(region: number): void {
    this.#relay(region).restart();
  }

  #relay(region: number): MemoryRelay {
    return this.relays.find(({ options }) => options.region === region)!;
  }
}

/** A mote's tailnet address. */
export function addressOf(mote: Mote, family: 4 | 6 = 4): string {
  return mote.addresses.find(text => text.includes(':') === (family === 6))!.split('/')[0]!;
}
