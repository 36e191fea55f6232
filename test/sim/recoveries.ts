/** The disturbances of the simulation, each with what it may cost. Test-only. */
import type { SimCase } from './cases.ts';
import { type Recovery, recoveryCase, type Scene } from './recovery.ts';

/** Both behind NATs as homes have them, or one in the open. */
const EASY = [
  ['ei-apd', 'ei-apd'],
  ['linux', 'ei-ad'],
  ['none', 'apd-apd'],
  ['double', 'ei-ei'],
] as const;
const HARD = [
  ['apd-apd', 'apd-apd'],
  ['blocked', 'none'],
  ['ei-apd', 'double-strict'],
] as const;
/** Both behind a NAT of their own. */
const TRANSLATED = [
  ['ei-apd', 'ei-apd'],
  ['linux', 'ei-ad'],
  ['ei-ad', 'apd-apd'],
] as const;
/** Where one moves to, and what a direct path is possible to from there. */
const CAFE = {
  nat: { mapping: 'endpoint-independent', filtering: 'address-and-port-dependent' },
  address: '203.0.113.66',
  link: { delayMs: 15 },
} as const;
const MOVING = [
  ['ei-apd', 'ei-apd'],
  ['linux', 'ei-ad'],
  ['none', 'ei-apd'],
  ['double', 'none'],
] as const;
const TEN_MINUTES_MS = 600_000;

function now({ tailnet }: Scene): number {
  return tailnet.world.nowMs;
}

const RECOVERIES: readonly Recovery[] = [
  {
    // The direct path needs no relay.
    name: 'home relay killed while direct',
    pairs: EASY,
    disturb: async scene => {
      scene.tailnet.killRelay(901);
      return now(scene);
    },
    echoLimitMs: 1000,
    directLimitMs: 1000,
  },
  {
    // Both have to notice, to find the other relay, and to learn of each other that they did.
    name: 'home relay killed while relayed',
    pairs: HARD,
    disturb: async scene => {
      scene.tailnet.killRelay(901);
      return now(scene);
    },
    echoLimitMs: 15_000,
    directLimitMs: Number.POSITIVE_INFINITY,
  },
  {
    name: 'relay restarted while relayed',
    pairs: HARD,
    disturb: async scene => {
      scene.tailnet.killRelay(901);
      await scene.tailnet.world.clock.advance(200);
      scene.tailnet.restartRelay(901);
      return now(scene);
    },
    echoLimitMs: 10_000,
    directLimitMs: Number.POSITIVE_INFINITY,
  },
  {
    name: 'NAT of the client restarted',
    pairs: TRANSLATED,
    disturb: async scene => {
      scene.a.network.router!.reboot();
      return now(scene);
    },
    echoLimitMs: 8000,
    directLimitMs: 45_000,
  },
  {
    // Its relay connection went with the NAT, too, and it notices when it next sends something there.
    name: 'NAT of the server restarted',
    pairs: TRANSLATED,
    disturb: async scene => {
      scene.b.network.router!.reboot();
      return now(scene);
    },
    echoLimitMs: 12_000,
    directLimitMs: 45_000,
  },
  {
    name: 'NAT of the client restarted with another address',
    pairs: TRANSLATED,
    disturb: async scene => {
      scene.a.network.router!.reboot('203.0.113.77');
      return now(scene);
    },
    echoLimitMs: 8000,
    directLimitMs: 45_000,
  },
  {
    name: 'client moved to another network',
    pairs: MOVING,
    disturb: async scene => {
      const { world } = scene.tailnet;
      const cafe = world.network('cafe', world.internet, CAFE);
      scene.a.host.move(cafe, ['10.66.0.7']);
      return now(scene);
    },
    echoLimitMs: 10_000,
    directLimitMs: 30_000,
  },
  {
    name: 'server moved to another network',
    pairs: MOVING,
    disturb: async scene => {
      const { world } = scene.tailnet;
      const cafe = world.network('cafe', world.internet, CAFE);
      scene.b.host.move(cafe, ['10.66.0.7']);
      return now(scene);
    },
    echoLimitMs: 10_000,
    directLimitMs: 30_000,
  },
  {
    name: 'everything gone for 20 s',
    pairs: EASY,
    disturb: async scene => {
      const { wire } = scene.a.host.interfaces[0]!;
      wire.cut(true);
      await scene.tailnet.world.clock.advance(20_000);
      wire.cut(false);
      return now(scene);
    },
    echoLimitMs: 10_000,
    directLimitMs: 30_000,
  },
  {
    name: 'UDP blocked while direct',
    pairs: TRANSLATED,
    disturb: async scene => {
      scene.a.network.router!.blocksUdp = true;
      return now(scene);
    },
    endsDirect: false,
    echoLimitMs: 8000,
    directLimitMs: Number.POSITIVE_INFINITY,
  },
  {
    name: 'UDP blocked for a minute',
    pairs: TRANSLATED,
    disturb: async scene => {
      scene.a.network.router!.blocksUdp = true;
      await scene.tailnet.world.clock.advance(60_000);
      scene.a.network.router!.blocksUdp = false;
      return now(scene);
    },
    echoLimitMs: 1000,
    directLimitMs: 35_000,
  },
  {
    name: '30 % loss begins',
    pairs: EASY,
    disturb: async scene => {
      scene.a.host.interfaces[0]!.wire.set({ loss: 0.3 });
      return now(scene);
    },
    echoLimitMs: 3000,
    directLimitMs: 10_000,
  },
  {
    name: 'client asleep for 10 minutes',
    pairs: EASY,
    disturb: async scene => {
      scene.a.host.sleep(TEN_MINUTES_MS);
      await scene.tailnet.world.clock.advance(TEN_MINUTES_MS);
      return now(scene);
    },
    echoLimitMs: 10_000,
    directLimitMs: 15_000,
  },
  {
    name: 'server asleep for 10 minutes',
    pairs: EASY,
    disturb: async scene => {
      scene.b.host.sleep(TEN_MINUTES_MS);
      await scene.tailnet.world.clock.advance(TEN_MINUTES_MS);
      return now(scene);
    },
    echoLimitMs: 15_000,
    directLimitMs: 30_000,
  },
  {
    name: 'coordinator killed, then NAT of the client restarted',
    pairs: TRANSLATED,
    disturb: async scene => {
      scene.tailnet.coordinator.kill();
      await scene.tailnet.world.clock.advance(5000);
      scene.a.network.router!.reboot();
      return now(scene);
    },
    echoLimitMs: 8000,
    directLimitMs: 45_000,
  },
];

/** All recovery cases. */
export const RECOVERY_CASES: readonly SimCase[] = RECOVERIES.map(recoveryCase);
