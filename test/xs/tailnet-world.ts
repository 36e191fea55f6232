/**
 * A tailnet for one mote on the engine: a coordinator with a relay, members that are real motes in this process, and
 * devices that are only known, all on one virtual clock.
 */
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { ALL_PARTS } from '../../lib/device/parts.ts';
import { Mote } from '../../lib/mote/mote.ts';
import { device } from '../coordinator/map-support.ts';
import { MemoryCoordinator } from '../sim/memory-coordinator.ts';
import { MemoryNetwork } from '../sim/memory-host.ts';
import type { EngineLink } from './engine-link.ts';
import { RemoteMote } from './remote-mote.ts';

const COORDINATOR = '192.0.2.1';
const FIRST_IDLE_ID = 1000;
const JOIN_LIMIT_MS = 60_000;
const POLICY = JSON.stringify({
  tagOwners: { 'tag:member': [], 'tag:chip': [] },
  acls: [
    { action: 'accept', src: ['tag:member'], dst: ['tag:chip:*'] },
    { action: 'accept', src: ['tag:chip'], dst: ['tag:member:*'] },
  ],
});
/** Until news of a device have reached the others. */
const HEARD_MS = 2000;

/** One tailnet, before the mote on the engine joins. */
export class TailnetWorld {
  readonly network = new MemoryNetwork();
  readonly coordinator: MemoryCoordinator;
  readonly members: Mote[] = [];
  #nextAddress = 200;
  readonly #isRestricted: boolean;

  private constructor(isRestricted: boolean, isForeign: boolean) {
    this.#isRestricted = isRestricted;
    this.coordinator = new MemoryCoordinator(this.network, COORDINATOR, { keepsSentBytes: false, isForeign });
  }

  /**
   * `members` motes that answer, and `idle` devices of which there is a record only. `isRestricted`: a policy lets the
   * mote talk with the members alone, so that they are all that a small device hears of. `isForeign`: the coordinator
   * knows nothing of small devices, and has relays all over the world.
   */
  static async create(members: number, idle: number, isRestricted = false, isForeign = false): Promise<TailnetWorld> {
    const world = new TailnetWorld(isRestricted, isForeign);
    if (isRestricted) world.coordinator.command({ type: 'policy-set', tailnet: 'default', text: POLICY });
    const suite = createNobleSuite();
    const { network, coordinator } = world;
    for (let i = 0; i < members; i++) {
      const options = { control: coordinator.url, name: `member-${i}`, authKey: world.#authKey('tag:member') };
      const host = network.host(`192.0.2.${10 + i}`, 10 + i);
      world.members.push(await network.until(Mote.up(host, suite, options, ALL_PARTS), JOIN_LIMIT_MS));
    }
    if (idle > 0) await world.#addIdle(idle);
    return world;
  }

  /** As if they had joined long ago: their records are what a restarted coordinator finds. */
  async #addIdle(count: number): Promise<void> {
    const { coordinator, network } = this;
    const user = coordinator.commits.flatMap(({ changes }) => changes).find(({ kind }) => kind === 'user');
    const owner = (user!.value as { id: number }).id;
    const changes = Array.from({ length: count }, (_, i) => {
      const value = device(FIRST_IDLE_ID + i, {
        tailnet: 'default',
        user: owner,
        name: `sensor-${i}`,
        hostname: `sensor-${i}`,
        lastSeenMs: 1_700_000_000_000,
      });
      return { tailnet: 'default', kind: 'device' as const, id: String(value.id), value };
    });
    coordinator.kill();
    coordinator.commits.push({ id: coordinator.commits.at(-1)!.id + 1, changes });
    coordinator.restart();
    await network.advance(30_000);
  }

  #authKey(tag: string): string {
    return this.coordinator.authKey(this.#isRestricted ? { tags: [tag] } : {});
  }

  /** A mote on the engine, not up yet; at the address of the last one when it `returns`. */
  mote(link: EngineLink, returns = false): RemoteMote {
    const number = returns ? this.#nextAddress - 1 : this.#nextAddress++;
    return new RemoteMote(link, this.network, `192.0.2.${number}`, number);
  }

  /** Joins; the mote is called `chip`. The members have heard of it afterwards. */
  async join(mote: RemoteMote, more: object = {}): Promise<readonly string[]> {
    const options = { control: this.coordinator.url, name: 'chip', authKey: this.#authKey('tag:chip'), ...more };
    const addresses = await this.network.until(mote.up(options), JOIN_LIMIT_MS);
    await this.network.advance(HEARD_MS);
    return addresses;
  }

  /** A member asks the mote's HTTP server; the bytes of the whole answer. */
  async request(member: Mote): Promise<number> {
    const { network } = this;
    const connection = await network.until(member.dial('chip', 80), JOIN_LIMIT_MS);
    await connection.write(new TextEncoder().encode('GET / HTTP/1.1\r\nHost: chip\r\n\r\n'));
    const readAll = async () => {
      let total = 0;
      for (let got = await connection.read(); got !== undefined; got = await connection.read()) total += got.length;
      await connection.end();
      return total;
    };
    return network.until(readAll(), JOIN_LIMIT_MS);
  }
}
