/** Commands out of JSON: everything that is one passes unchanged, everything else is refused in one clear line. */
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AdminCommand } from '../../lib/coordinator/commands.ts';
import { COMMAND_TYPES, CommandError, readCommand } from '../../targets/server/admin-command.ts';

const test = suite('admin command');

/** One full example of each. */
const EXAMPLES: { readonly [T in AdminCommand['type']]: Required<Omit<Extract<AdminCommand, { type: T }>, 'type'>> } = {
  'tailnet-list': {},
  'tailnet-create': { tailnet: 'lab', requiresApproval: true, keyLifeMs: 0 },
  'tailnet-update': { tailnet: 'lab', requiresApproval: false, keyLifeMs: 86_400_000 },
  'tailnet-remove': { tailnet: 'lab', force: true },
  'user-list': { tailnet: 'lab' },
  'user-create': { tailnet: 'lab', loginName: 'ann@example.com', displayName: 'Ann Ä. Example' },
  'user-rename': { tailnet: 'lab', loginName: 'ann', newLoginName: 'ann@example.com' },
  'user-remove': { tailnet: 'lab', loginName: 'ann' },
  'key-create': {
    tailnet: 'lab',
    user: 'ann',
    description: 'for the laptop',
    lifeMs: 3_600_000,
    isReusable: true,
    isEphemeral: false,
    isPreapproved: true,
    tags: ['tag:server', 'tag:a-1'],
  },
  'key-list': { tailnet: 'lab' },
  'key-revoke': { tailnet: 'lab', id: '0123456789ab' },
  'device-list': { tailnet: 'lab' },
  'device-approve': { tailnet: 'lab', device: 'fd7a:115c:a1e0::1', user: 'ann' },
  'device-rename': { tailnet: 'lab', device: '100.64.0.1', name: 'db-1' },
  'device-expire': { tailnet: 'lab', device: '9007199254740991' },
  'device-remove': { tailnet: 'lab', device: 'db-1.lab.mote.internal' },
  'device-tags': { tailnet: 'lab', device: 'db-1', tags: ['tag:db'] },
  'device-routes': { tailnet: 'lab', device: 'db-1', routes: ['192.0.2.0/24'] },
  'policy-get': { tailnet: 'lab' },
  'policy-set': { tailnet: 'lab', text: '{ /* nobody */ "acls": [] }\n', version: 3, isDryRun: true },
  'policy-explain': { tailnet: 'lab', source: 'db-1', destination: '192.0.2.1', port: 22, protocol: 6 },
  'token-create': { tailnet: '', description: 'ci', lifeMs: 1000 },
  'token-list': { tailnet: '' },
  'token-revoke': { tailnet: 'lab', id: 'abcdef012345' },
};

const OF_POLICY = ['newLoginName', 'routes', 'text', 'source', 'destination', 'port'];
const REQUIRED = ['tailnet', 'loginName', 'id', 'device', 'name', ...OF_POLICY];
const isRequired = (type: string, name: string) =>
  REQUIRED.includes(name) || (type === 'device-tags' && name === 'tags');

function refusal(value: unknown): string {
  try {
    readCommand(value);
  } catch (error) {
    assert.instance(error, CommandError);
    return (error as Error).message;
  }
  throw new Error(`taken: ${JSON.stringify(value)}`);
}

test('every command passes unchanged, with all its fields and with those alone that it needs', () => {
  assert.equal([...COMMAND_TYPES].sort(), Object.keys(EXAMPLES).sort());
  for (const [type, fields] of Object.entries(EXAMPLES)) {
    assert.equal(readCommand({ type, ...fields }), { type, ...fields });
    const needed = Object.fromEntries(Object.entries(fields).filter(([name]) => isRequired(type, name)));
    assert.equal(readCommand({ type, ...needed }), { type, ...needed });
  }
});

test('a field that is missing is named', () => {
  for (const [type, fields] of Object.entries(EXAMPLES))
    for (const name of Object.keys(fields).filter(field => isRequired(type, field))) {
      const { [name]: _, ...rest } = fields as Record<string, unknown>;
      assert.is(refusal({ type, ...rest }), `${type} expected "${name}", got none`);
    }
});

test('a field that no such command has is refused, with the one that was probably meant', () => {
  for (const [type, fields] of Object.entries(EXAMPLES)) {
    assert.match(
      refusal({ type, ...fields, zzz: 1 }),
      new RegExp(`^${type} has no field "zzz": (known|it takes none)`),
    );
    for (const name of ['__proto__', 'constructor', 'toString'])
      assert.ok(refusal(JSON.parse(`{"type":"${type}","${name}":{}}`)).startsWith(`${type} has no field "${name}"`));
  }
  assert.is(
    refusal({ type: 'key-create', tailnet: 'lab', isReuseable: true }),
    'key-create has no field "isReuseable": did you mean "isReusable"?',
  );
});

test('a field of the wrong type is refused by name, whichever', () => {
  for (const [type, fields] of Object.entries(EXAMPLES))
    for (const [name, good] of Object.entries(fields))
      for (const bad of [null, 1.5, -1, Number.NaN, 2 ** 53, {}, [], [1], 'x y', '\u0000', true, 'ann', '']) {
        const isAlsoGood = (() => {
          if (typeof bad === 'boolean') return typeof good === 'boolean';
          if (name === 'text') return typeof bad === 'string';
          if (name === 'tags' || name === 'routes') return Array.isArray(bad) && bad.length === 0;
          if (bad === 'ann') return !['id'].includes(name) && typeof good === 'string';
          if (bad === 'x y') return ['description', 'displayName'].includes(name);
          if (bad === '')
            return ['description', 'displayName'].includes(name) || (name === 'tailnet' && type.startsWith('token-'));
          return false;
        })();
        if (isAlsoGood) readCommand({ type, ...fields, [name]: bad });
        else
          assert.ok(
            refusal({ type, ...fields, [name]: bad }).startsWith(`"${name}" of ${type} expected `),
            `${type} ${name} ${String(bad)}`,
          );
      }
});

test('the form of each field is checked at its bounds', () => {
  const key = (more: object) => ({ type: 'key-create', tailnet: 'lab', ...more });
  const good: object[] = [
    key({ tailnet: 'a'.repeat(63) }),
    key({ lifeMs: 1000 }),
    key({ lifeMs: 31_536_000_000 }),
    key({ description: 'd'.repeat(200) }),
    key({ user: `a${'b'.repeat(126)}` }),
    key({ user: 'Zoe+x@ex.org' }),
    key({ tags: Array.from({ length: 16 }, (_, i) => `tag:t${i}`) }),
    key({ tags: [`tag:${'t'.repeat(63)}`] }),
    { type: 'tailnet-update', tailnet: 'lab', keyLifeMs: 315_360_000_000 },
  ];
  for (const value of good) assert.equal(readCommand(value), value);
  const bad: object[] = [
    ...['a'.repeat(64), '-a', 'a-', 'A', 'a.b', 'a_b', 'ä', 'a\n'].map(tailnet => key({ tailnet })),
    ...[0, 999, 31_536_000_001, '1000'].map(lifeMs => key({ lifeMs })),
    ...['d'.repeat(201), 'a\nb', 'a\u202eb', '\ud800', '\u2028'].map(description => key({ description })),
    ...[`a${'b'.repeat(127)}`, 'Zoë', '_ann', '-ann', '.ann', 'an n', 'ann\n', '<b>'].map(user => key({ user })),
    ...['server', 'tag:', 'tag:1', 'tag:a_b', 'tag:a b', 'TAG:a', 'tag:A', `tag:${'t'.repeat(64)}`].map(t =>
      key({ tags: [t] }),
    ),
    key({ tags: ['tag:a', 'tag:a'] }),
    key({ tags: Array.from({ length: 17 }, (_, i) => `tag:t${i}`) }),
    key({ tags: 'tag:a' }),
    { type: 'tailnet-update', tailnet: 'lab', keyLifeMs: 315_360_000_001 },
    { type: 'tailnet-update', tailnet: 'lab', keyLifeMs: 1 },
    ...['0123456789AB', '0123456789a', '0123456789abc'].map(id => ({ type: 'key-revoke', tailnet: 'lab', id })),
    ...['', 'a b', 'a/b', 'a'.repeat(254)].map(device => ({ type: 'device-expire', tailnet: 'lab', device })),
  ];
  for (const value of bad) refusal(value);
});

test('what is no command at all is refused', () => {
  for (const value of [null, [], 'key-list', 5, true])
    assert.match(refusal(value), /^a command is a JSON object with "type", got /);
  assert.is(refusal({}), 'a command expected "type", got none');
  assert.is(refusal({ type: 'key-lsit' }), 'no command "key-lsit": did you mean "key-list"?');
  for (const type of ['toString', '__proto__', 5, null, ['key-list']]) assert.match(refusal({ type }), /^no command /);
});

test('a key or token in the wrong place is not repeated', () => {
  const token = `mote-api-0123456789ab-${'S'.repeat(43)}`;
  for (const message of [
    refusal({ type: 'key-revoke', tailnet: 'lab', id: token }),
    refusal({ type: token }),
    refusal(token),
    refusal({ type: 'key-list', tailnet: 'lab', [token]: 1 }),
    refusal({ type: 'key-create', tailnet: 'lab', tags: [token] }),
    refusal({ type: 'key-create', tailnet: 'lab', tags: { deep: [token] } }),
    refusal({ type: { token } }),
    refusal([token]),
  ])
    assert.not(message.includes('SSSS'), message);
});

test('whatever JSON comes, it is a command or one short printable line', () => {
  const fields = [...new Set(Object.values(EXAMPLES).flatMap(Object.keys))];
  const value = fc.oneof(fc.jsonValue(), fc.constantFrom(...Object.values(EXAMPLES).flatMap(Object.values)));
  const shaped = fc.tuple(fc.constantFrom(...COMMAND_TYPES), fc.dictionary(fc.constantFrom(...fields, 'x'), value));
  const any = fc.oneof(
    fc.jsonValue(),
    shaped.map(([type, rest]) => ({ type, ...rest })),
  );
  fc.assert(
    fc.property(any, one => {
      try {
        assert.equal(readCommand(one), one);
      } catch (error) {
        if (!(error instanceof CommandError)) throw error;
        assert.match(error.message, /^[\x20-\x7e…]{1,400}$/);
      }
    }),
    { numRuns: 500 },
  );
});

test.run();
