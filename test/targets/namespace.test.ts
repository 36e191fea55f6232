/**
 * Sockets in conditions that the loopback interface never shows: no IPv6, and a kernel that does not take what is sent.
 * In network namespaces of its own; needs root and `ip`, and is skipped without them.
 */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { TSX } from '../interop/json-lines.ts';
import { Lab, until } from '../interop/lab.ts';
import { whatIsMissing } from '../interop/programs.ts';
import { BUN, DENO, DENO_STABLE, type Runtime } from '../tools/runtimes.ts';

const test = suite('sockets in namespaces');
const PROBE = 'test/targets/namespace-probe.ts';

const NODE = { name: 'node', program: process.execPath, flags: ['--import', TSX] } as const;
const missing = process.getuid?.() === 0 ? whatIsMissing(['ip', 'setpriv', 'sysctl']) : 'not root';

let lab: Lab;
test.before.each(() => {
  lab = new Lab();
});
test.after.each(() => lab.dispose());

type Program = Omit<Runtime, 'name'> & { readonly name: string };

function testOn({ name, program, flags }: Program, title: string, body: (command: readonly string[]) => Promise<void>) {
  const reason = program === undefined ? 'the program is not installed' : missing;
  if (reason === undefined) return test(`${name}: ${title}`, () => body([program!, ...flags, PROBE, name]));
  console.log(`skipped: ${name}: ${title}: ${reason}`);
  test.skip();
}

for (const runtime of [NODE, DENO, BUN])
  testOn(runtime, 'where IPv6 is switched off, IPv4 works', async command => {
    const space = await lab.namespace('no6');
    await lab.run(space, ['sysctl', '-qw', 'net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.lo.disable_ipv6=1']);
    const { stdout } = await lab.run(space, [...command, 'local']);
    const { local, sentV4 } = JSON.parse(stdout);
    assert.is(local[0].address, '0.0.0.0');
    assert.is(sentV4, true);
  });

for (const runtime of [NODE, DENO, BUN])
  testOn(runtime, 'addresses of a machine are those that others can use', async command => {
    const [space, far] = [await lab.namespace('near'), await lab.namespace('far')];
    const { left } = await lab.cable(space, far, { left: [], right: [] });
    const addresses = async () => JSON.parse((await lab.run(space, [...command, 'interfaces'])).stdout).addresses;
    assert.equal(await addresses(), [], 'loopback and link-local alone');
    await space.addAddress(left, '169.254.3.4/16');
    assert.equal(await addresses(), ['169.254.3.4'], 'nothing better');
    for (const text of ['100.64.0.9/32', 'fd7a:115c:a1e0::9/128', '10.9.1.1/24', '2001:db8::1/64', '100.128.0.1/24'])
      await space.addAddress(left, text);
    assert.equal((await addresses()).sort(), ['10.9.1.1', '100.128.0.1', '2001:db8::1']);
  });

/** The far side does not answer ARP until the near socket is full; then all goes out. */
async function fillThenRelease(command: readonly string[]) {
  const [near, far] = [await lab.namespace('near'), await lab.namespace('far')];
  const cable = await lab.cable(near, far, { left: ['10.9.1.1/24'], right: ['10.9.1.2/24'] });
  await lab.run(near, ['sysctl', '-qw', `net.ipv4.neigh.${cable.left}.unres_qlen_bytes=268435456`]);
  const receiver = lab.start(far, [...[NODE.program, ...NODE.flags, PROBE, 'node'], 'collect', '4000']);
  await until('the receiver is ready', 20_000, () => receiver.stdout.includes('isReady'), 20);
  const sender = lab.start(near, [...command, 'fill', '10.9.1.9']);
  await until('the sender has filled its socket', 20_000, () => sender.stdout.includes('taken'), 5);
  await far.addAddress(cable.right, '10.9.1.9/24');
  let seen = 0;
  await until('the flow has ended', 20_000, async () => {
    const before = seen;
    seen = await far.udpCounter('InDatagrams');
    return seen > 0 && seen === before;
  });
  receiver.child.stdin!.end();
  const { stdout } = await receiver.ended;
  return { ...JSON.parse(sender.stdout), ...JSON.parse(stdout.trim().split('\n').at(-1)!) };
}

testOn(NODE, 'what the kernel does not take at once leaves later, unspoiled', async command => {
  const { taken, isFull, count, spoiled, last } = await fillThenRelease(command);
  assert.is(isFull, true);
  assert.ok(count > 64, `${count} of ${taken} arrived`);
  assert.is(spoiled, 0);
  assert.equal(
    last,
    Array.from({ length: 64 }, (_, i) => taken - 64 + i),
  ); // those that waited in the process
});

for (const runtime of [DENO, DENO_STABLE, BUN])
  testOn(runtime, 'nothing that was sent arrives spoiled', async command => {
    const { taken, count, spoiled } = await fillThenRelease(command);
    assert.ok(count > 0, `${count} of ${taken} arrived`);
    assert.is(spoiled, 0);
  });

test.run();
