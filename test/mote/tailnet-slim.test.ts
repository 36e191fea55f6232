/**
 * Two small devices of a tailnet so large that each has only a slim record of the other: neither can begin path
 * discovery, so they find their direct path because each asks for the other's whole record.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { ALL_PARTS } from '../../lib/device/parts.ts';
import { Mote } from '../../lib/mote/mote.ts';
import { TailnetWorld } from '../xs/tailnet-world.ts';

const test = suite('tailnet of slim peers');
/** More than fit into a small device as whole records. */
const IDLE_DEVICES = 150;
/** From the first packet until the map has been asked for again, with some seconds for it and for the path. */
const FOUND_MS = 16_000;

async function joinSmall(world: TailnetWorld, name: string, number: number): Promise<Mote> {
  const { network, coordinator } = world;
  const host = network.host(`192.0.2.${number}`, number);
  const options = { control: coordinator.url, name, authKey: coordinator.authKey(), preset: 'small' } as const;
  const mote = await network.until(Mote.up(host, createNobleSuite(), options, ALL_PARTS), 60_000);
  await network.advance(2000);
  return mote;
}

test('two of them talk at once by a relay, and directly after the map was asked for again', async () => {
  const world = await TailnetWorld.create(1, IDLE_DEVICES, false, true);
  const { network } = world;
  const [a, b] = [await joinSmall(world, 'a', 201), await joinSmall(world, 'b', 202)];
  await network.until(a.ping('b'), 10_000);
  const early = a.pingPath('b', { timeoutMs: 3000 }).then(
    ({ path }) => path,
    (error: Error) => error.message,
  );
  assert.match(await network.until(early, 10_000), 'no answer');
  await network.advance(FOUND_MS);
  await network.until(a.ping('b'), 10_000);
  assert.is((await network.until(a.pingPath('b'), 10_000)).path, 'direct');
  await network.until(Promise.all([a.close(), b.close()]), 10_000);
});

test.run();
