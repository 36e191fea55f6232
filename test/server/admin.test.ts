/** The administration interface over real HTTP: who may, what is checked, which status, and that no secret comes back. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BODY_LIMIT_BYTES } from '../../targets/server/admin-body.ts';
import { type Ask, ask, FakeContext, serveAdmin, TOKENS } from './admin-support.ts';

const test = suite('admin');

const COMMAND = '/api/v1/command';
const LIST = { type: 'device-list', tailnet: 'lab' } as const;

/** One request to a fresh server. */
async function once(path: string, how: Ask, context = new FakeContext()) {
  const server = await serveAdmin(context);
  try {
    return { ...(await ask(server.port, path, how)), context, errors: server.errors };
  } finally {
    await server.close();
  }
}

const codeOf = (json: unknown) => (json as { error?: { code?: string } } | undefined)?.error?.code;

test('a command is carried out in the name of its token, and answered with its value', async () => {
  const { status, json, headers, context } = await once(COMMAND, { token: TOKENS.lab, body: LIST });
  assert.equal([status, json], [200, { done: true }]);
  assert.equal(context.commands, [{ actor: { name: 'token:ba9876543210', tailnet: 'lab' }, command: LIST }]);
  assert.is(headers['content-type'], 'application/json; charset=utf-8');
  assert.is(headers['cache-control'], 'no-store');
  assert.is(headers['access-control-allow-origin'], undefined);
});

test('a refusal of the coordinator has its status, code and text', async () => {
  for (const [code, status] of Object.entries({ invalid: 400, forbidden: 403, 'not-found': 404, conflict: 409 })) {
    const context = new FakeContext();
    context.outcome = { isOk: false, code: code as 'invalid', message: 'why' };
    const reply = await once(COMMAND, { token: TOKENS.server, body: LIST }, context);
    assert.equal([reply.status, reply.json], [status, { error: { code, message: 'why' } }]);
  }
});

test('without a valid token nothing is done on any path, and every attempt costs one look-up', async () => {
  const paths = ['command', 'backup', 'audit', 'status', 'tailnets', 'tailnets/lab/keys', 'nothing'];
  for (const path of paths)
    for (const isPost of [true, false]) {
      const how = isPost ? { body: LIST } : {};
      const { status, json, context, headers } = await once(`/api/v1/${path}`, how);
      assert.equal([status, codeOf(json)], [401, 'unauthorized'], path);
      assert.match(String(headers['www-authenticate']), /^Bearer /);
      assert.equal([context.commands, context.queries, context.backups, context.asked], [[], [], [], ['']]);
    }
  const wrong = [
    `Bearer ${TOKENS.server}x`,
    `Bearer ${TOKENS.server.slice(0, -1)}`,
    `Basic ${TOKENS.server}`,
    TOKENS.server,
    'Bearer',
    'Bearer  ',
    `Bearer ${'x'.repeat(5000)}`,
    `Bearer ${TOKENS.server} ${TOKENS.server}`,
    `Bearer ${TOKENS.server},`,
  ];
  for (const authorization of wrong) {
    const reply = await once(COMMAND, { headers: { authorization }, body: LIST });
    assert.equal([reply.status, reply.context.commands, reply.context.asked.length], [401, [], 1], authorization);
    assert.not(reply.text.includes('mote-api'));
  }
  const inQuery = await once(`/api/v1/status?token=${TOKENS.server}&access_token=${TOKENS.server}`, {});
  assert.is(inQuery.status, 401);
});

test('the word Bearer may be written in any case', async () => {
  const { status } = await once(COMMAND, { headers: { authorization: `bearer ${TOKENS.server}` }, body: LIST });
  assert.is(status, 200);
});

test('on the socket of the machine no token is asked for', async () => {
  const context = new FakeContext(true);
  const { status } = await once(COMMAND, { body: LIST }, context);
  assert.equal([status, context.commands[0]!.actor, context.asked], [200, { name: 'admin', tailnet: undefined }, []]);
});

test('a header cannot claim to be local', async () => {
  const headers = { 'x-forwarded-for': '127.0.0.1', host: 'localhost', forwarded: 'for=127.0.0.1', origin: 'null' };
  assert.is((await once(COMMAND, { body: LIST, headers })).status, 401);
});

test('what is no command is a 400 that says why, and reaches nobody', async () => {
  const cases: readonly [string | object, RegExp][] = [
    [{ type: 'key-lsit', tailnet: 'lab' }, /did you mean "key-list"\?/],
    [{ ...LIST, extra: 1 }, /device-list has no field "extra"/],
    [[LIST], /a command is a JSON object/],
    ['', /the body is not JSON/],
    ['{"type":"key-list"', /the body is not JSON/],
    [`${TOKENS.server}`, /^the body is not JSON$/],
    [`{"type":${'['.repeat(30_000)}${']'.repeat(30_000)}}`, /no command a list/],
    [`{"type":"key-list","tailnet":${'['.repeat(30_000)}${']'.repeat(30_000)}}`, /got a list/],
  ];
  for (const [body, expected] of cases) {
    const { status, text, json, context } = await once(COMMAND, { token: TOKENS.server, body });
    assert.equal([status, codeOf(json), context.commands], [400, 'invalid', []], text.slice(0, 200));
    assert.match((json as { error: { message: string } }).error.message, expected);
  }
});

test('a body that is not announced as JSON is refused, so that no web form can be one', async () => {
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', '', 'text/json; application/json']) {
    const how = { token: TOKENS.server, body: LIST, headers: { 'content-type': type } };
    const { status, json, context } = await once(COMMAND, how);
    assert.equal([status, codeOf(json), context.commands], [415, 'media-type', []]);
  }
  const fine = { token: TOKENS.server, body: LIST, headers: { 'content-type': 'Application/JSON; charset=utf-8' } };
  assert.is((await once(COMMAND, fine)).status, 200);
});

test('a body of the limit is read, one byte more is refused, announced or not', async () => {
  const padded = (bytes: number) => JSON.stringify(LIST).padEnd(bytes);
  const chunked = { 'transfer-encoding': 'chunked' };
  for (const headers of [{}, chunked] as Record<string, string>[]) {
    const fits = await once(COMMAND, { token: TOKENS.server, body: padded(BODY_LIMIT_BYTES), headers });
    assert.is(fits.status, 200);
    const more = await once(COMMAND, { token: TOKENS.server, body: padded(BODY_LIMIT_BYTES + 1), headers });
    assert.equal([more.status, codeOf(more.json), more.context.commands], [413, 'too-large', []]);
  }
});

test('a body that breaks off is no command', async () => {
  const context = new FakeContext(true);
  const server = await serveAdmin(context);
  await new Promise<void>(resolve => {
    const socket = connect(server.port, '127.0.0.1', () => {
      socket.write(
        `POST ${COMMAND} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n`,
      );
      socket.end(JSON.stringify(LIST));
    });
    socket.on('close', () => resolve()).resume();
  });
  await server.close();
  assert.equal(context.commands, []);
});

test('a body that does not come in time is given up', async () => {
  const context = new FakeContext(true);
  const server = await serveAdmin(context, 0, 50);
  const answer = await new Promise<string>(resolve => {
    let got = '';
    const head = `POST ${COMMAND} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{`;
    const socket = connect(server.port, '127.0.0.1', () => socket.write(head));
    socket.on('data', data => (got += data)).on('close', () => resolve(got));
  });
  await server.close();
  assert.match(answer, /^HTTP\/1\.1 408 [\s\S]*connection: close[\s\S]*"timeout"/i);
  assert.equal(context.commands, []);
});

test('a path takes its method, and other paths are 404', async () => {
  const cases: readonly [string, string, number, string?][] = [
    ['GET', '/api/v1/command', 405, 'POST'],
    ['PUT', '/api/v1/command', 405, 'POST'],
    ['POST', '/api/v1/audit', 405, 'GET'],
    ['DELETE', '/api/v1/status', 405, 'GET'],
    ['GET', '/api/v1/backup', 405, 'POST'],
    ['POST', '/api/v1/tailnets', 405, 'GET'],
    ['GET', '/api/v1', 404],
    ['GET', '/api/v1/', 404],
    ['GET', '/api/v2/status', 404],
    ['GET', '/api/v1x/status', 404],
    ['GET', '//', 404],
    ['GET', '/api/v1/tailnets/lab', 404],
    ['GET', '/api/v1/tailnets/L%41B/keys', 404],
    ['GET', '/api/v1/tailnets/../keys', 404],
    ['GET', '/api/v1/tailnets/lab/keys/', 404],
  ];
  for (const [method, path, status, allow] of cases) {
    const reply = await once(path, { method, token: TOKENS.server });
    assert.equal([reply.status, reply.headers.allow], [status, allow], `${method} ${path}`);
    assert.equal(reply.context.commands, []);
  }
});

test('lists can be read by path', async () => {
  const cases: readonly [string, object][] = [
    ['tailnets', { type: 'tailnet-list' }],
    ...(['user', 'key', 'device', 'token'] as const).map((kind): [string, object] => [
      `tailnets/lab/${kind}s?x=1`,
      { type: `${kind}-list`, tailnet: 'lab' },
    ]),
  ];
  for (const [path, command] of cases) {
    const { status, context } = await once(`/api/v1/${path}`, { token: TOKENS.server });
    assert.equal([status, context.commands.map(one => one.command)], [200, [command]]);
  }
});

test('the audit log is read within the bounds of the token', async () => {
  const cases: readonly [string, string, object | number][] = [
    ['', TOKENS.server, { limit: 100 }],
    ['?limit=5&before=7', TOKENS.server, { limit: 5, before: 7 }],
    ['?tailnet=other', TOKENS.server, { limit: 100, tailnet: 'other' }],
    ['', TOKENS.lab, { limit: 100, tailnet: 'lab' }],
    ['?tailnet=lab&limit=1000', TOKENS.lab, { limit: 1000, tailnet: 'lab' }],
    ['?tailnet=other', TOKENS.lab, 403],
    ['?tailnet=', TOKENS.lab, 400],
    ['?tailnet=', TOKENS.server, 400],
    ['?tailnet=lab&tailnet=other', TOKENS.lab, 400],
    ['?limit=0', TOKENS.server, 400],
    ['?limit=1001', TOKENS.server, 400],
    ['?limit=1e3', TOKENS.server, 400],
    ['?before=-1', TOKENS.server, 400],
    ['?page=2', TOKENS.server, 400],
  ];
  for (const [query, token, expected] of cases) {
    const { status, json, context } = await once(`/api/v1/audit${query}`, { token });
    if (typeof expected === 'number') assert.equal([status, context.queries], [expected, []], query);
    else {
      assert.equal([status, context.queries], [200, [expected]], query);
      assert.is((json as { seq: number }[])[0]!.seq, 7);
    }
  }
});

test('status and backup are for the whole server', async () => {
  const status = await once('/api/v1/status', { token: TOKENS.server });
  assert.equal([status.status, status.json], [200, { url: 'http://127.0.0.1:8080' }]);
  for (const [path, method] of [
    ['status', 'GET'],
    ['backup', 'POST'],
  ] as const) {
    const { status, json, context } = await once(`/api/v1/${path}`, { token: TOKENS.lab, method });
    assert.equal([status, codeOf(json), context.backups], [403, 'forbidden', []]);
  }
});

test('a backup is sent whole, and leaves nothing behind', async () => {
  const { status, text, headers, context } = await once('/api/v1/backup', { token: TOKENS.server, method: 'POST' });
  assert.equal([status, text], [200, 'SQLite format 3\0 and more']);
  assert.is(headers['content-length'], String(text.length));
  assert.is(context.backups.length, 1);
  assert.is(existsSync(dirname(context.backups[0]!)), false);
});

test('a backup that fails is a 500 without details, and leaves nothing behind', async () => {
  const context = new FakeContext(true);
  const scratch = mkdtempSync(join(tmpdir(), 'motenet-test-'));
  const before = process.env['TMPDIR'];
  process.env['TMPDIR'] = scratch;
  context.backup = async () => {
    throw new Error('disk full at /secret/place');
  };
  const reply = await once('/api/v1/backup', { method: 'POST' }, context);
  if (before === undefined) delete process.env['TMPDIR'];
  else process.env['TMPDIR'] = before;
  assert.equal([reply.status, codeOf(reply.json)], [500, 'failed']);
  assert.not(reply.text.includes('secret'));
  assert.equal(reply.errors, ['disk full at /secret/place']);
  assert.equal(readdirSync(scratch), []);
  rmSync(scratch, { recursive: true });
});

test('a failure inside is told to the log in one line, without the token', async () => {
  const context = new FakeContext();
  context.outcome = new Error('it broke\nwith a stack');
  const { status, text, errors } = await once(COMMAND, { token: TOKENS.server, body: LIST }, context);
  assert.is(status, 500);
  assert.equal(errors, ['it broke']);
  for (const line of [text, ...errors]) assert.not(line.includes(TOKENS.server));
});

test('one connection carries several requests, also after a refusal without a body', async () => {
  const server = await serveAdmin(new FakeContext());
  const { Agent } = await import('node:http');
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const status = (token?: string) =>
    new Promise<[number, boolean]>((resolve, reject) => {
      const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
      const request = httpRequest({ host: '127.0.0.1', port: server.port, path: '/api/v1/status', agent, headers });
      request.on('error', reject).on('response', response => {
        response.resume().on('end', () => resolve([response.statusCode ?? 0, request.reusedSocket]));
      });
      request.end();
    });
  assert.equal(await status(), [401, false]);
  assert.equal(await status(TOKENS.server), [200, true]);
  agent.destroy();
  await server.close();
});

test.run();
