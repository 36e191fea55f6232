/**
 * Two plain sockets that punch holes by the simplest rule there is: ask a third host for the own outside endpoint, tell
 * it the other side, then send to every endpoint known, again and again, and learn the source of whatever arrives. What
 * they achieve is what the oracle's reasoning is measured against. Test-only.
 */
import { type Endpoint, formatEndpoint, parseEndpoint } from '../../lib/base/address.ts';
import type { Behaviour } from './oracle.ts';
import { World } from './world.ts';
import { TestSocket, type WorldHost } from './world-host.ts';
import type { Network } from './world-network.ts';

/** Puts a host on the inside of a behaviour. `site` makes addresses distinct. */
export function hostBehind(world: World, name: string, behaviour: Behaviour, site: number): WorldHost {
  return world.host(name, siteBehind(world, name, behaviour, site), [insideAddress(behaviour, site)], { delayMs: 1 });
}

/** The network on the inside of a behaviour. */
export function siteBehind(
  world: World,
  name: string,
  behaviour: Behaviour,
  site: number,
  outer = world.internet,
): Network {
  const way =
    behaviour.isBlocked === true ? [{ mapping: 'none', filtering: 'endpoint-independent' } as const] : behaviour.way;
  let network = outer;
  for (let level = way.length - 1; level >= 0; level--) {
    const nat = way[level]!;
    const address = level === way.length - 1 ? `203.0.113.${site}` : `100.80.${site}.${level + 2}`;
    network = world.network(`${name}-${level}`, network, {
      nat,
      ...(nat.mapping === 'none' ? {} : { address }),
      blocksUdp: behaviour.isBlocked === true,
      link: { delayMs: 8 },
    });
  }
  return network;
}

/** A host's address on the inside: a public one where nothing translates. */
export function insideAddress(behaviour: Behaviour, site: number, number = 10): string {
  const isTranslated = behaviour.isBlocked !== true && behaviour.way.some(({ mapping }) => mapping !== 'none');
  return isTranslated ? `192.168.${site}.${number}` : `198.51.${site}.${number}`;
}

/** Whether two sockets get datagrams across in both directions, after each has sent the other something that it acknowledged. */
export async function punch(a: Behaviour, b: Behaviour, seed: number): Promise<boolean> {
  const world = new World(seed);
  const reflector = new TestSocket(world.host('reflector', world.internet, ['192.0.2.1'], { delayMs: 2 }), 3478);
  reflector.onDatagram = (_text, from) => reflector.send(`you ${formatEndpoint(from)}`, from);
  const puncher = (name: string, behaviour: Behaviour, site: number) =>
    new Puncher(hostBehind(world, name, behaviour, site));
  return meet(world, puncher('a', a, 1), puncher('b', b, 2));
}

/** Lets two punchers find each other by the reflector at 192.0.2.1; whether they do within ten seconds. */
export async function meet(world: World, one: Puncher, two: Puncher): Promise<boolean> {
  for (const puncher of [one, two]) puncher.socket.send('who am I', { address: '192.0.2.1', port: 3478 });
  await world.clock.advance(500);
  one.know(two.reflexive);
  two.know(one.reflexive);
  for (let round = 0; round < 20; round++) {
    for (const puncher of [one, two]) puncher.send();
    await world.clock.advance(500);
  }
  return one.isHeard && two.isHeard;
}

/** One of the two. */
export class Puncher {
  readonly socket: TestSocket;
  reflexive: Endpoint | undefined;
  /** Whether the other side has said that it got something. */
  isHeard = false;
  #hasHeard = false;
  readonly #known = new Map<string, Endpoint>();

  constructor(host: WorldHost) {
    this.socket = new TestSocket(host);
    this.socket.onDatagram = (text, from) => {
      if (text.startsWith('you ')) {
        this.reflexive = parseEndpoint(text.slice(4));
        return;
      }
      this.know(from);
      this.#hasHeard = true;
      if (text === 'heard') this.isHeard = true;
    };
  }

  know(endpoint: Endpoint | undefined): void {
    if (endpoint !== undefined) this.#known.set(formatEndpoint(endpoint), endpoint);
  }

  send(): void {
    for (const endpoint of this.#known.values()) this.socket.send(this.#hasHeard ? 'heard' : 'hello', endpoint);
  }
}
