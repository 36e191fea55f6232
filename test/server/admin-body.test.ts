/** Bodies of administration requests: a policy of a megabyte fits, however it is written, and nothing else does. */
import { connect, type Socket } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { AdminOutcome } from '../../lib/coordinator/commands.ts';
import { BODY_LIMIT_BYTES, POLICY_BODY_LIMIT_BYTES } from '../../targets/server/admin-body.ts';
import { ask, FakeContext, serveAdmin, TOKENS } from './admin-support.ts';
import { until } from './support.ts';

const test = suite('admin body');

const COMMAND = '/api/v1/command';
const MIB = 1_048_576;
const context = new FakeContext();
const server = await serveAdmin(context);
/** Sends a body; what came of it. */
async function send(body: string, headers: Record<string, string> = {}) {
  context.commands.length = 0;
  const { status, json } = await ask(server.port, COMMAND, { token: TOKENS.server, body, headers });
  const { error } = json as { error?: { code: string; message: string; details?: readonly string[] } };
  return { status, error, commands: context.commands.map(({ command }) => command) };
}

/** `policy-set` with this between the quotes of its text. */
const policyBody = (inside: string) => `{"type":"policy-set","tailnet":"lab","text":"${inside}"}`;

test('a policy of 1 MiB is taken with every character of it as an escape', async () => {
  for (const headers of [{}, { 'transfer-encoding': 'chunked' }] as Record<string, string>[]) {
    const { status, commands } = await send(policyBody('\\u0061'.repeat(MIB)), headers);
    assert.is(status, 200);
    assert.is((commands[0] as { text: string }).text, 'a'.repeat(MIB));
  }
  const quotes = await send(policyBody('\\"\\\\'.repeat(MIB / 2)));
  assert.is((quotes.commands[0] as { text: string }).text.length, MIB);
  const umlauts = await send(policyBody('ü'.repeat(MIB / 2)));
  assert.is((umlauts.commands[0] as { text: string }).text, 'ü'.repeat(MIB / 2));
});

test('a body beyond that is refused, whether its length is told or not', async () => {
  const body = policyBody('a').padEnd(POLICY_BODY_LIMIT_BYTES + 1);
  for (const headers of [{}, { 'transfer-encoding': 'chunked' }] as Record<string, string>[]) {
    const { status, error, commands } = await send(body, headers).catch(() => ({
      status: 413,
      error: undefined,
      commands: [],
    }));
    assert.equal([status, commands], [413, []]);
    if (error !== undefined) assert.is(error.message, `a command has at most ${POLICY_BODY_LIMIT_BYTES} bytes`);
  }
});

test('what is not the text of a policy is as limited as ever', async () => {
  const text = 'a'.repeat(BODY_LIMIT_BYTES);
  const bodies = [
    `{"type":"user-create","tailnet":"lab","loginName":"ann","displayName":"${text}"}`,
    `{"type":"device-list","tailnet":"lab"}`.padEnd(BODY_LIMIT_BYTES + 1),
    `${policyBody('a').slice(0, -1)},"x":[${'[],'.repeat(BODY_LIMIT_BYTES / 3)}[]]}`,
    '['.repeat(BODY_LIMIT_BYTES + 1),
    '"",'.repeat(BODY_LIMIT_BYTES),
  ];
  for (const body of bodies) {
    const { status, commands } = await send(body);
    assert.ok([400, 413].includes(status), `${status} for ${body.slice(0, 40)}`);
    assert.equal(commands, []);
  }
  assert.is((await send(bodies[1]!)).error!.code, 'too-large');
  assert.is((await send(bodies[2]!)).error!.code, 'too-large');
  assert.is((await send(bodies[3]!)).error!.code, 'too-large');
});

test('four large bodies at once are read, a fifth waits outside, and small ones go on', async () => {
  const open: Socket[] = [];
  const body = policyBody('a'.repeat(BODY_LIMIT_BYTES + 1));
  const head = `POST ${COMMAND} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKENS.server}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
  for (let i = 0; i < 4; i++) {
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => undefined).resume();
    socket.write(head + body.slice(0, -1));
    open.push(socket);
  }
  let last = await send(body);
  for (let i = 0; i < 200 && last.status === 200; i++) last = await send(body); // until all four are on their way
  assert.equal([last.status, last.error!.code], [503, 'busy']);
  assert.is((await send('{"type":"device-list","tailnet":"lab"}')).status, 200);
  open[0]!.destroy();
  let isFree = false;
  for (let i = 0; i < 200 && !isFree; i++) isFree = (await send(body)).status === 200;
  assert.ok(isFree, 'one that broke off makes room');
  let answer = '';
  open[1]!.on('data', data => {
    answer += data;
  });
  open[1]!.write(body.slice(-1));
  await until(() => answer.includes('200 OK'));
  for (let i = 0; i < 10; i++) assert.is((await send(body)).status, 200, 'each that is answered makes room');
  for (const socket of open) socket.destroy();
});

test('a refusal says by its status what kind it is, and has its details', async () => {
  const cases: readonly [AdminOutcome & { isOk: false }, number][] = [
    [{ isOk: false, code: 'tests-failed', message: 'no', details: ['line 1: a', 'line 2: b'] }, 422],
    [{ isOk: false, code: 'invalid', message: 'no', details: ['1:2: a'] }, 400],
    [{ isOk: false, code: 'conflict', message: 'no' }, 409],
  ];
  for (const [outcome, expected] of cases) {
    context.outcome = outcome;
    const { status, error } = await send(policyBody('{}'));
    const { code, message, details } = outcome;
    assert.equal([status, error], [expected, { code, message, ...(details === undefined ? {} : { details }) }]);
  }
});

test.after(() => server.close());

test.run();
