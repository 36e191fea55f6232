/** The oracle against two sockets that simply try, and against what is commonly known. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BEHAVIOURS, NAT_BEHAVIOURS } from './behaviours.ts';
import type { Dependence, NatBehaviour } from './nat.ts';
import { type Behaviour, canBeDirect, canBeDirectInside } from './oracle.ts';
import { insideAddress, meet, Puncher, punch, siteBehind } from './punch.ts';
import { World } from './world.ts';
import { TestSocket } from './world-host.ts';

const test = suite('oracle');

test('common knowledge holds', () => {
  const direct = (a: string, b: string) => canBeDirect(BEHAVIOURS.get(a)!, BEHAVIOURS.get(b)!);
  assert.is(direct('none', 'apd-apd'), true);
  assert.is(direct('ei-apd', 'ei-apd'), true, 'two port-restricted cones');
  assert.is(direct('ei-ad', 'apd-apd'), true, 'restricted cone and symmetric');
  assert.is(direct('ei-apd', 'apd-apd'), false, 'port-restricted cone and symmetric');
  assert.is(direct('apd-apd', 'apd-apd'), false, 'two symmetric ones');
  assert.is(direct('linux', 'linux'), true, 'a preserved port can be foretold');
  assert.is(direct('none', 'blocked'), false);
});

test('it does not matter who is first', () => {
  for (const a of BEHAVIOURS.values())
    for (const b of BEHAVIOURS.values()) assert.is(canBeDirect(a, b), canBeDirect(b, a));
});

test('two sockets that simply try find a way exactly where the oracle says that there is one', async () => {
  for (const [nameA, a] of BEHAVIOURS)
    for (const [nameB, b] of BEHAVIOURS) assert.is(await punch(a, b, 1), canBeDirect(a, b), `${nameA} and ${nameB}`);
});

test('the same for any NAT behind any NAT, with ports preserved or not', async () => {
  const dependences: Dependence[] = ['endpoint-independent', 'address-dependent', 'address-and-port-dependent'];
  const natural: NatBehaviour[] = dependences.flatMap(mapping =>
    dependences.flatMap(filtering => (['random', 'preserved'] as const).map(ports => ({ mapping, filtering, ports }))),
  );
  let tried = 0;
  for (let i = 0; i < natural.length; i++) {
    for (let j = 0; j < natural.length; j++) {
      const a: Behaviour = { way: [natural[i]!, natural[j]!] };
      const b: Behaviour = { way: [natural[(7 * i + 5 * j) % natural.length]!] };
      assert.is(await punch(a, b, i), canBeDirect(a, b), JSON.stringify([a, b]));
      tried++;
    }
  }
  assert.is(tried, 324);
});

test('behind one NAT a way leads through it where it turns datagrams around', async () => {
  for (const outer of NAT_BEHAVIOURS.values()) {
    for (const hairpins of [false, true]) {
      const shared = { ...outer, hairpins };
      for (const [name, inner] of NAT_BEHAVIOURS) {
        const [a, b]: Behaviour[] = [{ way: [inner] }, { way: [NAT_BEHAVIOURS.get('ei-apd')!] }];
        const world = new World(3);
        const reflector = new TestSocket(world.host('reflector', world.internet, ['192.0.2.1']), 3478);
        reflector.onDatagram = (_text, from) => reflector.send(`you ${from.address}:${from.port}`, from);
        const carrier = world.network('carrier', world.internet, { nat: shared, address: '203.0.113.9' });
        const host = (label: string, behaviour: Behaviour, site: number) =>
          world.host(label, siteBehind(world, label, behaviour, site, carrier), [insideAddress(behaviour, site)]);
        const found = await meet(world, new Puncher(host('a', a!, 1)), new Puncher(host('b', b!, 2)));
        assert.is(found, canBeDirectInside(shared, a!, b!), `${name} in ${JSON.stringify(shared)}`);
      }
    }
  }
});

test.run();
