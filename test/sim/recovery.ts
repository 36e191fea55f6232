/**
 * What happens to a connection when something breaks: two motes with traffic between them, a disturbance, and the time
 * until an echo comes back again, and until the path is direct again. A TCP connection is open all the while, and not a
 * byte of it may be lost, repeated or reordered. Test-only.
 */
import { BEHAVIOURS } from './behaviours.ts';
import { Findings, type Outcome, type PlayOptions, type SimCase } from './cases.ts';
import { canBeDirect } from './oracle.ts';
import { insideAddress, siteBehind } from './punch.ts';
import { EchoClient, EchoServer, pathBetween, StreamCheck } from './traffic.ts';
import type { WorldHost } from './world-host.ts';
import type { Network } from './world-network.ts';
import { TailnetWorld } from './world-tailnet.ts';
import type { Mote } from '../../lib/mote/mote.ts';

const SETTLE_MS = 4000;
/** Traffic before the disturbance; a direct path must have been found by then, if there is one. */
const BEFORE_MS = 6000;
const INTERVAL_MS = 100;
const AFTER_MS = 60_000;
const WATCH_MS = 100;

/** One of the two. */
export interface Member {
  readonly mote: Mote;
  readonly host: WorldHost;
  readonly network: Network;
}

/** A scene that a disturbance happens to. */
export interface Scene {
  readonly tailnet: TailnetWorld;
  /** Sends datagrams; opened the stream. */
  readonly a: Member;
  /** Echoes. */
  readonly b: Member;
}

/** A recovery case. */
export interface Recovery {
  readonly name: string;
  /** Names of behaviours, drawn from by the seed. */
  readonly pairs: readonly (readonly [string, string])[];
  /** Does it, and returns the moment from which time counts. It may let time pass. */
  readonly disturb: (scene: Scene) => Promise<number>;
  /** Default: where the behaviours permit it. */
  readonly endsDirect?: boolean;
  /** Until the first echo. */
  readonly echoLimitMs: number;
  /** Until the path is direct again, where it can be. */
  readonly directLimitMs: number;
}

/** Makes a case of it. */
export function recoveryCase(recovery: Recovery): SimCase {
  return { name: recovery.name, play: (seed, options) => play(recovery, seed, options) };
}

/** Two motes behind these behaviours. */
export async function makeScene(seed: number, names: readonly [string, string], options: PlayOptions): Promise<Scene> {
  const tailnet = new TailnetWorld(seed);
  const { world } = tailnet;
  world.recorder = options.recorder;
  options.prepare?.(tailnet);
  const places = names.map((name, i) => {
    const behaviour = BEHAVIOURS.get(name)!;
    const label = i === 0 ? 'a' : 'b';
    const network = siteBehind(world, label, behaviour, i + 1);
    const link = { delayMs: 1 + world.random.below(30), jitterMs: world.random.below(6) };
    return { network, host: world.host(label, network, [insideAddress(behaviour, i + 1)], link) };
  });
  const motes = await tailnet.joinAll(
    places.map(({ host }) => host),
    i => ({ preset: (seed + i) % 2 === 0 ? 'large' : 'small' }),
  );
  await world.clock.advance(SETTLE_MS);
  const [a, b] = places.map((place, i) => ({ ...place, mote: motes[i]! }));
  return { tailnet, a: a!, b: b! };
}

async function play(recovery: Recovery, seed: number, options: PlayOptions = {}): Promise<Outcome> {
  const findings = new Findings();
  const names = recovery.pairs[(seed >> 1) % recovery.pairs.length]!; // recoveries are played from odd seeds
  const label = `${recovery.name} ${names.join(':')}`;
  const isDirect = canBeDirect(BEHAVIOURS.get(names[0])!, BEHAVIOURS.get(names[1])!);
  const scene = await makeScene(seed, names, options);
  const { tailnet, a, b } = scene;
  const { clock } = tailnet.world;
  const pump = await Pump.start(scene);
  const stream = await StreamCheck.open(tailnet.world, a, b);
  await clock.advance(BEFORE_MS);
  const before = pathBetween(a.mote, b.mote);
  findings.check(before === (isDirect ? 'direct' : 'relay'), `${label}: path is ${before} before anything happens`);
  const sinceMs = await recovery.disturb(scene);
  const number = pump.sent;
  await clock.advance(Math.max(0, sinceMs - clock.nowMs));
  const endsDirect = recovery.endsDirect ?? isDirect;
  const directMs = await pump.untilDirect(scene, sinceMs, endsDirect ? AFTER_MS : recovery.echoLimitMs + 5000);
  const echoMs = pump.firstEcho(number) - sinceMs;
  findings.time(`${recovery.name}: echo`, Math.max(0, echoMs));
  findings.check(echoMs <= recovery.echoLimitMs, `${label}: no echo for ${echoMs} ms, limit ${recovery.echoLimitMs}`);
  if (endsDirect) findings.time(`${recovery.name}: direct`, directMs);
  const isInTime = endsDirect ? directMs <= recovery.directLimitMs : directMs === Number.POSITIVE_INFINITY;
  findings.check(
    isInTime,
    `${label}: direct after ${directMs} ms, limit ${endsDirect ? recovery.directLimitMs : 'never'}`,
  );
  pump.stop();
  const flaw = await stream.finish();
  findings.check(flaw === '', `${label}: stream: ${flaw}`);
  await Promise.all([a.mote.close(), b.mote.close()]);
  return findings;
}

/** A datagram every so often, as long as its host is awake. */
export class Pump {
  sent = 0;
  readonly #client: EchoClient;
  readonly #server: EchoServer;
  readonly #scene: Scene;
  #isRunning = true;

  readonly #intervalMs: number;

  private constructor(scene: Scene, client: EchoClient, server: EchoServer, intervalMs: number) {
    this.#scene = scene;
    this.#client = client;
    this.#server = server;
    this.#intervalMs = intervalMs;
    this.#tick();
  }

  static async start(scene: Scene, intervalMs = INTERVAL_MS): Promise<Pump> {
    const { clock } = scene.tailnet.world;
    const nowMs = () => clock.nowMs;
    const server = await EchoServer.open(scene.b.mote, nowMs);
    return new Pump(scene, await EchoClient.open(scene.a.mote, nowMs), server, intervalMs);
  }

  /** Sends no more. */
  stop(): void {
    this.#isRunning = false;
  }

  /** Sends no more, echoes no more, and frees the port. */
  close(): void {
    this.stop();
    this.#server.close();
  }

  /** The numbers that came back, in order. */
  echoed(): number[] {
    return this.#client.echoes(0).map(({ number }) => number);
  }

  /** When the first echo came of a datagram with this number or a later one; Infinity: none did. */
  firstEcho(number: number): number {
    const echo = this.#client.echoes(0).find(arrival => arrival.number >= number);
    return echo?.atMs ?? Number.POSITIVE_INFINITY;
  }

  /** Lets time pass until echoes come back and both say that the path is direct; gives the time since `sinceMs`. */
  async untilDirect({ a, b, tailnet }: Scene, sinceMs: number, limitMs: number): Promise<number> {
    const { clock } = tailnet.world;
    const number = this.sent;
    while (clock.nowMs < sinceMs + limitMs) {
      await clock.advance(WATCH_MS);
      const isDirect = pathBetween(a.mote, b.mote) === 'direct' && pathBetween(b.mote, a.mote) === 'direct';
      if (isDirect && this.firstEcho(number) < clock.nowMs) return clock.nowMs - sinceMs;
    }
    return Number.POSITIVE_INFINITY;
  }

  #tick(): void {
    if (!this.#isRunning) return;
    const { a, b, tailnet } = this.#scene;
    if (!a.host.isAsleep) this.#client.send(b.mote, 0, this.sent++);
    tailnet.world.clock.after(this.#intervalMs, () => this.#tick());
  }
}
