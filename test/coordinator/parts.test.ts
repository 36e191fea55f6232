/** Small parts of the coordinator: secrets as text, requests as JSON, and what one more change costs. */
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { utf8Encode } from '../../lib/base/bytes.ts';
import { fieldsOf, readRequest } from '../../lib/coordinator/request-json.ts';
import { idOfSecret, isSecret, makeSecret } from '../../lib/coordinator/secrets.ts';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { Seeded } from '../crypto/support.ts';
import { Machine, World } from './support.ts';

const test = suite('coordinator parts');
const suiteOfTest = createNobleSuite();

test('a secret is found by its id and proven by its hash', () => {
  const random = new Seeded(3);
  const fill = (out: Uint8Array) => out.set(random.bytes(out.length));
  const seen = new Set<string>();
  for (let i = 0; i < 50; i++) {
    const { text, id, hash } = makeSecret(suiteOfTest, fill, i % 2 ? 'auth' : 'api', seen);
    assert.match(text, /^mote-(auth|api)-[0-9a-f]{12}-[A-Za-z0-9_-]{43}$/);
    assert.is(idOfSecret(i % 2 ? 'auth' : 'api', text), id);
    assert.is(idOfSecret(i % 2 ? 'api' : 'auth', text), undefined);
    assert.ok(isSecret(suiteOfTest, text, hash));
    assert.not(hash.includes(text.slice(-10)));
    for (const other of [`${text} `, text.slice(0, -1), text.toUpperCase(), ''])
      assert.not(isSecret(suiteOfTest, other, hash));
    assert.not(isSecret(suiteOfTest, text, ''), 'a record without a hash admits nobody');
    assert.not(isSecret(suiteOfTest, text, '!'));
    seen.add(id);
  }
  assert.is(seen.size, 50);
});

test('an id that is in use is drawn again', () => {
  let draws = 0;
  const { id } = makeSecret(suiteOfTest, out => out.fill(++draws), 'auth', new Set(['010101010101', '020202020202']));
  assert.is(id, '030303030303');
});

test('field names match in any case, the last of several counts, other types are absent', () => {
  const fields = readRequest(
    utf8Encode('{"nodeKEY":"a","NodeKey":"b","N":1.5,"M":-1,"B":"true","T":true,"O":[],"Z":null,"__proto__":{"x":1}}'),
    8,
  )!;
  assert.is(fields.text('NodeKey'), 'b');
  assert.is(fields.text('n'), '');
  assert.is(fields.count('n'), 0);
  assert.is(fields.count('m'), 0);
  assert.is(fields.isTrue('b'), false);
  assert.is(fields.isTrue('t'), true);
  assert.is(fields.object('o'), undefined);
  assert.equal(fields.array('O'), []);
  assert.is(fields.text('z'), '');
  assert.is(fields.text('constructor'), '');
  assert.is(fields.object('__PROTO__')?.count('X'), 1);
  assert.is(fieldsOf('x'), undefined);
});

test('any bytes are a request or none', () => {
  const random = new Seeded(11);
  const valid = '{"NodeKey":"nodekey:00","Hostinfo":{"Services":[{"Proto":"tcp"}],"a":"\\"[{\\u0041"}}';
  for (let i = 0; i < 2000; i++) {
    const bytes = utf8Encode(valid);
    for (let j = random.below(4); j >= 0; j--) bytes[random.below(bytes.length)] = random.below(256);
    const fields = readRequest(bytes.slice(0, random.below(bytes.length + 1)), 3);
    if (fields !== undefined) fields.object('Hostinfo')?.array('Services');
  }
});

test('a machine answers any JSON to any request with an answer', () => {
  const world = new World();
  const random = new Seeded(13);
  const machine = new Machine(world, 1);
  const key = world.key({ isReusable: true });
  machine.join(key);
  const values = [
    null,
    0,
    -1,
    1e99,
    '',
    'x',
    machine.nodeKey,
    key,
    [],
    [[]],
    {},
    { AuthKey: key },
    true,
    '2030-01-01T00:00:00Z',
    ['192.0.2.1:1'],
    [null],
  ];
  const names = [
    'NodeKey',
    'OldNodeKey',
    'Auth',
    'Expiry',
    'Followup',
    'Hostinfo',
    'Ephemeral',
    'NodeKeySignature',
    'Version',
    'DiscoKey',
    'Stream',
    'OmitPeers',
    'Endpoints',
  ];
  const any = (depth: number): unknown => {
    const value = values[random.below(values.length)];
    if (depth === 0 || random.below(3) > 0) return value;
    return {
      Hostname: any(0),
      NetInfo: any(depth - 1),
      Services: [any(depth - 1)],
      RequestTags: any(0),
      PreferredDERP: any(0),
      Proto: any(0),
      OS: any(0),
    };
  };
  for (let i = 0; i < 1500; i++) {
    const body: Record<string, unknown> = { NodeKey: machine.nodeKey };
    for (let j = random.below(6); j > 0; j--) body[names[random.below(names.length)]!] = any(2);
    const isMap = random.below(2) === 0;
    const request = isMap ? world.postMap(machine.machineKey, body) : world.postRegister(machine.machineKey, body);
    const isAnswered = world.replies.has(request) || world.streams.has(request);
    assert.ok(isAnswered, JSON.stringify(body));
    if (world.streams.has(request)) world.coordinator.abandon(world.nowMs, request);
  }
});

test('one more change does not walk through a tailnet', () => {
  const world = new World();
  const key = world.key({ isReusable: true });
  for (let i = 1; i <= 400; i++) new Machine(world, i, 'same').join(key);
  const mine = new Machine(world, 1000, 'same');
  let walked = 0;
  const count = <T extends object>(prototype: T, name: keyof T) => {
    const original = prototype[name] as unknown as (this: { size: number }) => unknown;
    Object.defineProperty(prototype, name, {
      configurable: true,
      writable: true,
      value(this: { size: number }) {
        if (this.size >= 400) walked++;
        return original.call(this);
      },
    });
    return () => Object.defineProperty(prototype, name, { configurable: true, writable: true, value: original });
  };
  const restore = [
    count(Map.prototype, 'values'),
    count(Map.prototype, 'keys'),
    count(Map.prototype, 'entries'),
    count(Set.prototype, 'values'),
    count(Map.prototype, Symbol.iterator as never),
    count(Set.prototype, Symbol.iterator as never),
  ];
  try {
    mine.join(key);
    mine.update({ Endpoints: ['192.0.2.1:1'] });
    mine.update({ Hostinfo: { Hostname: 'other' } });
    mine.hostname = 'other';
    const old = mine.renew(1);
    mine.register({ OldNodeKey: old });
    world.run({ type: 'device-rename', tailnet: 'default', device: 'other', name: 'renamed' });
    world.run({ type: 'device-expire', tailnet: 'default', device: 'renamed' });
    world.run({ type: 'device-remove', tailnet: 'default', device: 'renamed' });
    assert.is(walked, 0);
    world.devices();
    assert.ok(walked > 0, 'a list does');
  } finally {
    for (const undo of restore) undo();
  }
});

test.run();
