/** No request is believed about a node key that is not that of the machine at the other end: every wrong pair. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Machine, World } from './support.ts';

const test = suite('pairs of keys');

/** Five devices: two tailnets, two owners, one that waits, one that has expired. */
function people(): { world: World; machines: Machine[] } {
  const world = new World();
  world.run({ type: 'tailnet-create', tailnet: 'other' });
  world.run({ type: 'user-create', tailnet: 'default', loginName: 'ann' });
  const machines = [1, 2, 3, 4, 5].map(seed => new Machine(world, seed));
  const [a, b, c, d, e] = machines as [Machine, Machine, Machine, Machine, Machine];
  a.join(world.key());
  b.join(world.key({ user: 'ann' }));
  c.join(world.key({ tailnet: 'other' }));
  world.run({ type: 'tailnet-update', tailnet: 'default', requiresApproval: true });
  d.join(world.key());
  e.join(world.key({ isPreapproved: true }));
  world.run({ type: 'device-expire', tailnet: 'default', device: 'host-5' });
  return { world, machines };
}

test('every machine with every node key of another: register, log out, rotate, poll, stream, update', () => {
  const { world, machines } = people();
  const key = world.key({ isReusable: true });
  const records = () => JSON.stringify([...world.coordinator.records()].filter(({ kind }) => kind === 'device'));
  const before = records();
  const requests: { readonly [name: string]: (machine: Machine, nodeKey: string) => number } = {
    register: (machine, NodeKey) => machine.post({ NodeKey }),
    'with a key': (machine, NodeKey) => machine.post({ NodeKey, Auth: { AuthKey: key } }),
    'log out': (machine, NodeKey) => machine.post({ NodeKey, Expiry: '1970-01-01T00:02:03Z' }),
    rotate: (machine, OldNodeKey) => machine.post({ NodeKey: `nodekey:${'7'.repeat(64)}`, OldNodeKey }),
    'log in': (machine, NodeKey) => machine.post({ NodeKey, Followup: 'https://control.test/register/1' }),
    stream: (machine, NodeKey) => machine.poll({ NodeKey, Stream: true }),
    look: (machine, NodeKey) => machine.poll({ NodeKey }),
    update: (machine, NodeKey) => machine.poll({ NodeKey, OmitPeers: true, Endpoints: ['192.0.2.66:6'] }),
  };
  let pairs = 0;
  for (const machine of machines) {
    for (const other of machines) {
      if (machine === other) continue;
      for (const [name, request] of Object.entries(requests)) {
        const { status, text } = world.replies.get(request(machine, other.nodeKey))!;
        const isRefused =
          status === 404 || (status === 200 && /belongs to another machine/.test(JSON.parse(text).Error));
        assert.ok(isRefused, `${machine.hostname} as ${other.hostname}: ${name} gives ${status} ${text}`);
        assert.not(/host-|owner|ann|100\.|fd7a/.test(text), 'and learns nothing');
        pairs++;
      }
    }
  }
  assert.is(pairs, 5 * 4 * 8);
  assert.is(records(), before);
  assert.is(world.streams.size, 0);
  for (const machine of machines) assert.is(machine.update().status, 200, 'each with its own is welcome');
});

test('somebody who is not known gets the same answer as somebody with the key of another', () => {
  const { world, machines } = people();
  const stranger = new Machine(world, 99);
  const unknown = world.replies.get(stranger.poll())!;
  const wrong = world.replies.get(stranger.poll({ NodeKey: machines[0]!.nodeKey }))!;
  assert.equal(wrong, unknown);
  assert.is(unknown.status, 404);
});

test.run();
