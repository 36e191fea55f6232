import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { NetError } from '../../lib/base/errors.ts';
import { HttpClient, type HttpClientOptions, type HttpTarget } from '../../lib/mote/http-client.ts';
import { createServer } from '../../lib/mote/http-server.ts';
import type { HttpHandler, HttpServerOptions } from '../../lib/mote/http-server-options.ts';
import { HTTP_LIMITS_SMALL, latin1Encode } from '../../lib/mote/http-syntax.ts';
import {
  createPair,
  HAS_FETCH,
  ManualTimers,
  MemoryListener,
  type MemoryStream,
  pattern,
  settle,
} from './http-support.ts';

const test = suite('http client');

/** A client whose connections lead to a handler of this library's own server. */
function clientOf(handler: HttpHandler, o: Partial<HttpClientOptions> & { server?: HttpServerOptions } = {}) {
  const listener = new MemoryListener(80, 20_000);
  const targets: HttpTarget[] = [];
  const server = createServer(handler, o.server);
  void server.listen(listener);
  const client = new HttpClient({
    connect: async target => {
      targets.push(target);
      return listener.connect();
    },
    ...o,
  });
  return { client, listener, targets, server };
}

/** A client whose connections are answered by hand: each new one is given to the next of the functions. */
function scripted(scripts: ((server: MemoryStream) => unknown)[], o: Partial<HttpClientOptions> = {}) {
  const made: MemoryStream[] = [];
  const client = new HttpClient({
    connect: async () => {
      const script = scripts.shift();
      if (script === undefined) throw new NetError('ERR_CONNECTION_REFUSED', 'no more scripts');
      const [near, far] = createPair();
      made.push(near);
      void script(far);
      return near;
    },
    ...o,
  });
  return { client, made };
}

/** A server that waits for a request and answers with a text. */
const says =
  (answer: string, end = false) =>
  async (server: MemoryStream) => {
    await server.readUntil('\r\n\r\n');
    await server.send(answer);
    if (end) await server.end();
  };

const ok = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

/** What a promise is rejected with; its `code`, or its name where it has none. */
async function rejection(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    return (error as { code?: unknown }).code === undefined || !(error instanceof NetError)
      ? (error as Error).name
      : error.code;
  }
  return 'resolved';
}

if (!HAS_FETCH) {
  test('without the Fetch classes the client says which one is missing', () => {
    assert.throws(() => new HttpClient({ connect: () => Promise.reject() }), /runtime has no global Headers/);
  });
} else {
  test('a request goes out with its host, and the response has URL, status and fields', async () => {
    let seen = '';
    const { client } = scripted(
      [
        async server => {
          seen = await server.readUntil('\r\n\r\n');
          await server.send(
            'HTTP/1.1 418 I am a teapot\r\nX-A: 1\r\nX-A: 2\r\nSet-Cookie: a\r\nContent-Length: 3\r\n\r\ntea',
          );
        },
      ],
      { userAgent: 'mote' },
    );
    const response = await client.fetch('http://Tea.example:8080/a%20b?c#d', { headers: { 'x-own': 'yes' } });
    assert.is(
      seen,
      'GET /a%20b?c HTTP/1.1\r\nhost: tea.example:8080\r\nx-own: yes\r\naccept: */*\r\naccept-encoding: identity\r\n' +
        'user-agent: mote\r\n\r\n',
    );
    assert.is(response.status, 418);
    assert.is(response.statusText, 'I am a teapot');
    assert.is(response.headers.get('x-a'), '1, 2');
    assert.is(response.url, 'http://tea.example:8080/a%20b?c');
    assert.is(response.redirected, false);
    assert.is(await response.text(), 'tea');
  });

  test('host and port come from the URL, brackets removed', async () => {
    const { client, targets } = clientOf(() => new Response('x'));
    for (const url of ['http://a/', 'http://[fd00::1]:81/', 'http://10.0.0.1/'])
      await (await client.fetch(new URL(url))).text();
    assert.equal(targets, [
      { host: 'a', port: 80 },
      { host: 'fd00::1', port: 81 },
      { host: '10.0.0.1', port: 80 },
    ]);
  });

  test('every kind of body arrives, with its length where it is known', async () => {
    const { client } = clientOf(
      async request =>
        new Response(
          `${request.headers.get('content-length') ?? request.headers.get('transfer-encoding')} ` +
            `${request.headers.get('content-type')?.split(';')[0]} ${(await request.text()).slice(0, 20)}`,
        ),
    );
    const send = async (body: RequestInit['body'] & {}, headers: Record<string, string> = {}) => {
      const response = await client.fetch('http://a/', {
        method: 'POST',
        body,
        headers,
        duplex: 'half',
      } as RequestInit);
      return response.text();
    };
    const stream = () => new Blob(['blob']).stream();
    assert.is(await send('täxt'), '5 text/plain täxt');
    assert.is(await send(latin1Encode('bytes')), '5 undefined bytes');
    assert.is(await send(new Uint16Array([0x4141]).buffer), '2 undefined AA');
    assert.is(await send(new URLSearchParams({ a: '1' })), '3 application/x-www-form-urlencoded a=1');
    assert.is(await send(new Blob(['blob'], { type: 'text/x' })), '4 text/x blob');
    assert.match(await send(stream()), /^(4|chunked) undefined blob$/);
    assert.is(await send(stream(), { 'content-length': '4' }), '4 undefined blob');
    const form = new FormData();
    form.append('a', 'b');
    assert.match(await send(form), /^(\d+|chunked) multipart\/form-data --/);
    assert.is(await send(''), '0 text/plain ');
    const asked = await client.fetch(new Request('http://a/', { method: 'PUT', body: 'of a Request' }));
    assert.match(await asked.text(), /^(12|chunked) (text\/plain|undefined) of a Request$/);
    assert.is(await (await client.fetch('http://a/', { method: 'PUT' })).text(), '0 undefined ');
  });

  test('a body that does not fit its declared length rejects, and never reaches over it', async () => {
    for (const length of ['3', '5']) {
      let received = '';
      const { client } = scripted([
        async server => {
          received = await server.readAll();
        },
      ]);
      const stream = new Blob(['blob']).stream();
      const init = {
        method: 'POST',
        body: stream,
        duplex: 'half',
        headers: { 'content-length': length },
      } as RequestInit;
      assert.is(await rejection(client.fetch('http://a/', init)), 'RangeError');
      await settle();
      assert.not.match(received, length === '3' ? 'blob' : 'nothing');
    }
  });

  test('an upload streams with back-pressure and a download too', async () => {
    const content = pattern(300_000);
    const { client } = clientOf(request => new Response(request.body));
    let at = 0;
    const body = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          if (at >= content.length) return controller.close();
          controller.enqueue(content.slice(at, at + 7000));
          at += 7000;
        },
      },
      { highWaterMark: 0 },
    );
    const response = await client.fetch('http://a/', { method: 'POST', body, duplex: 'half' } as RequestInit);
    await settle(3000);
    assert.ok(at < 150_000, `${at} bytes were sent although nobody reads them`);
    const received = new Uint8Array(await response.arrayBuffer());
    assert.is(received.length, content.length);
    assert.ok(received.every((byte, i) => byte === content[i]));
  });

  test('chunked, close-delimited and empty responses end where they should', async () => {
    const { client } = scripted([
      async server => {
        await server.readUntil('\r\n\r\n');
        await server.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n');
        for (const status of ['204 No Content', '304 Not Modified']) {
          await server.readUntil('\r\n\r\n');
          await server.send(`HTTP/1.1 ${status}\r\nContent-Length: 5\r\n\r\n`);
        }
        await server.readUntil('\r\n\r\n');
        await server.send('HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n');
        await server.readUntil('\r\n\r\n');
        await server.send('HTTP/1.0 200 OK\r\n\r\nuntil');
        await settle();
        await server.send(' the end');
        await server.end();
      },
    ]);
    assert.is(await (await client.fetch('http://a/')).text(), 'abc');
    for (const status of [204, 304]) {
      const response = await client.fetch('http://a/');
      assert.is(response.status, status);
      assert.is(response.body, null);
    }
    const head = await client.fetch('http://a/', { method: 'HEAD' });
    assert.is(head.headers.get('content-length'), '500');
    assert.is(await head.text(), '');
    assert.is(await (await client.fetch('http://a/')).text(), 'until the end');
    assert.is(client.idleCount, 0);
  });

  test('a body that breaks off fails its reader', async () => {
    const cut: [string, string][] = [
      ['HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc', 'ERR_CONNECTION_RESET'],
      ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc', 'ERR_CONNECTION_RESET'],
      ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', 'ERR_PROTOCOL'],
    ];
    for (const [answer, code] of cut) {
      const { client, made } = scripted([says(answer, true)]);
      const response = await client.fetch('http://a/');
      assert.is(await rejection(response.text()), code);
      assert.ok(made[0]!.isAborted);
    }
    const { client } = scripted([
      async server => {
        await says('HTTP/1.1 200 OK\r\n\r\nabc')(server);
        await settle();
        server.abort();
      },
    ]);
    assert.is(await rejection((await client.fetch('http://a/')).text()), 'ERR_CONNECTION_RESET');
  });

  test('an answer that is no HTTP rejects and resets', async () => {
    for (const answer of [
      'SSH-2.0-x\r\n',
      `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(5000)}`,
      'HTTP/1.1 200 OK\r\nA : b\r\n\r\n',
    ]) {
      const { client, made } = scripted([says(answer)], { limits: HTTP_LIMITS_SMALL });
      assert.is(await rejection(client.fetch('http://a/')), 'ERR_PROTOCOL');
      assert.ok(made[0]!.isAborted);
    }
    const { client } = scripted([says('', true), says('HTTP/1.1 2', true)]);
    assert.is(await rejection(client.fetch('http://a/')), 'ERR_CONNECTION_RESET');
    assert.is(await rejection(client.fetch('http://a/')), 'ERR_CONNECTION_RESET');
  });

  test('interim responses are skipped up to a limit, and a switch of protocols is not accepted', async () => {
    const interim = 'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n';
    const limit = HTTP_LIMITS_SMALL.interimResponses;
    const few = scripted([says(interim.repeat(limit) + ok('x'))], { limits: HTTP_LIMITS_SMALL });
    assert.is(await (await few.client.fetch('http://a/')).text(), 'x');
    const many = scripted([says(interim.repeat(limit + 1) + ok('x'))], { limits: HTTP_LIMITS_SMALL });
    assert.is(await rejection(many.client.fetch('http://a/')), 'ERR_PROTOCOL');
    const upgrade = scripted([says(`HTTP/1.1 101 Switching Protocols\r\n\r\n${ok('x')}`)]);
    assert.is(await rejection(upgrade.client.fetch('http://a/')), 'ERR_PROTOCOL');
  });

  test('a connection is used again, and requests at the same time have one each', async () => {
    const { client, listener } = clientOf(() => new Response('x'));
    for (let i = 0; i < 3; i++) await (await client.fetch('http://a/')).text();
    assert.is(listener.clients.length, 1);
    assert.ok(listener.clients[0]!.isNoDelay);
    await Promise.all([1, 2, 3].map(async () => (await client.fetch('http://a/')).text()));
    assert.is(listener.clients.length, 3);
    await (await client.fetch('http://b/')).text();
    assert.is(listener.clients.length, 4);
    assert.is(client.idleCount, 4);
  });

  test('a small response frees its connection even when nobody reads it', async () => {
    const { client, listener } = clientOf(() => new Response('small'));
    const responses = [];
    for (let i = 0; i < 3; i++) responses.push(await client.fetch('http://a/'));
    assert.is(listener.clients.length, 1);
    assert.is(await responses[0]!.text(), 'small');
  });

  test('no more connections wait than the limits say, the oldest go first', async () => {
    const { client, listener, server } = clientOf(() => new Response('x'), { maxIdlePerHost: 2, maxIdle: 3 });
    const together = (url: string, n: number) =>
      Promise.all(Array.from({ length: n }, async () => (await client.fetch(url)).text()));
    await together('http://a/', 4);
    await settle();
    assert.is(client.idleCount, 2);
    await together('http://b/', 2);
    await settle();
    assert.is(client.idleCount, 3);
    for (const near of listener.clients) void near.readAll();
    await settle();
    assert.is(server.connectionCount, 3);
    client.close();
    await settle();
    assert.is(client.idleCount, 0);
    assert.is(await rejection(client.fetch('http://a/')), 'ERR_CLOSED');
  });

  test('an idle connection is closed at its deadline, or when the server said so', async () => {
    const timers = new ManualTimers();
    const { client } = clientOf(() => new Response('x'), { timers, idleTimeoutMs: 1000 });
    await (await client.fetch('http://a/')).text();
    await timers.advance(999);
    assert.is(client.idleCount, 1);
    await timers.advance(1);
    assert.is(client.idleCount, 0);
    const keep = (value: string) => says(ok('x').replace('\r\n', `\r\nKeep-Alive: ${value}\r\n`));
    const hinted = scripted([keep('max=5, timeout=2'), keep('timeout=0')], { timers, idleTimeoutMs: 9000 });
    await (await hinted.client.fetch('http://a/')).text();
    await timers.advance(1499);
    assert.is(hinted.client.idleCount, 1);
    await timers.advance(1);
    assert.is(hinted.client.idleCount, 0);
    await (await hinted.client.fetch('http://a/')).text();
    assert.is(hinted.client.idleCount, 0);
    assert.is(timers.count, 0);
  });

  test('a connection is not kept when either side says close, or when the server ends it', async () => {
    const close = ok('x').replace('\r\n', '\r\nConnection: close\r\n');
    const { client, made } = scripted([says(close), says(ok('x')), says(ok('x'), true), says(ok('x'))]);
    await (await client.fetch('http://a/')).text();
    assert.is(client.idleCount, 0);
    await (await client.fetch('http://a/', { headers: { connection: 'close' } })).text();
    assert.is(client.idleCount, 0);
    await (await client.fetch('http://a/')).text();
    await settle();
    assert.is(client.idleCount, 0);
    await (await client.fetch('http://a/')).text();
    assert.is(made.length, 4);
  });

  test('bytes that nobody asked for are never taken for an answer', async () => {
    const forged = ok('forged');
    const together = scripted([says(ok('x') + forged), says(ok('good'))]);
    await (await together.client.fetch('http://a/')).text();
    assert.ok(together.made[0]!.isAborted);
    assert.is(await (await together.client.fetch('http://a/')).text(), 'good');
    let server: MemoryStream | undefined;
    const later = scripted([
      async stream => {
        server = stream;
        await says(ok('x'))(stream);
      },
      says(ok('good')),
    ]);
    await (await later.client.fetch('http://a/')).text();
    assert.is(later.client.idleCount, 1);
    await server!.send(forged);
    await settle();
    assert.ok(later.made[0]!.isAborted);
    assert.is(await (await later.client.fetch('http://a/')).text(), 'good');
  });

  test('a request on a kept connection that is dead is sent again once, if that is safe', async () => {
    /** Answers once, then breaks in the given way on the second request. */
    const dying = (how: (server: MemoryStream) => unknown) => async (server: MemoryStream) => {
      await says(ok('first'))(server);
      await server.readUntil('\r\n\r\n');
      await how(server);
    };
    const reset = (server: MemoryStream) => server.abort();
    const run = async (init: RequestInit, how: (server: MemoryStream) => unknown = reset) => {
      const { client, made } = scripted([dying(how), says(ok('second'))]);
      await (await client.fetch('http://a/')).text();
      const outcome = await client.fetch('http://a/', init).then(
        response => response.text(),
        error => (error as NetError).code,
      );
      return `${outcome} ${made.length}`;
    };
    assert.is(await run({}), 'second 2');
    assert.is(await run({}, server => server.end()), 'second 2');
    assert.is(await run({ method: 'PUT', body: 'text' }), 'second 2');
    assert.is(await run({ method: 'PUT', body: new Blob(['text']) }), 'second 2');
    assert.is(await run({ method: 'POST', body: 'text' }), 'ERR_CONNECTION_RESET 1');
    assert.is(await run({ method: 'PATCH', body: 'text' }), 'ERR_CONNECTION_RESET 1');
    const stream = new ReadableStream({ pull: controller => controller.close() });
    assert.is(await run({ method: 'PUT', body: stream, duplex: 'half' } as RequestInit), 'ERR_CONNECTION_RESET 1');
    const half = async (server: MemoryStream) => {
      await server.send('HTTP/1.1 2');
      server.abort();
    };
    assert.is(await run({}, half), 'ERR_CONNECTION_RESET 1');
    const twice = scripted([dying(reset), dying(reset), says(ok('never'))]);
    await (await twice.client.fetch('http://a/')).text();
    assert.is(await (await twice.client.fetch('http://a/')).text(), 'first');
    const fresh = scripted([reset, says(ok('never'))]);
    assert.is(await rejection(fresh.client.fetch('http://a/')), 'ERR_CONNECTION_RESET');
    assert.is(fresh.made.length, 1);
  });

  test('redirects are followed with the method that each status asks for', async () => {
    const { client } = clientOf(async request => {
      const { pathname } = new URL(request.url);
      if (pathname !== '/end')
        return new Response('moved', { status: Number(pathname.slice(1)), headers: { location: '/end?q' } });
      return new Response(`${request.method} ${request.headers.get('content-type')} ${await request.text()}`);
    });
    const go = async (status: number, method: string) => {
      const body = method === 'GET' ? {} : { body: 'content' };
      const response = await client.fetch(`http://a/${status}#frag`, { method, ...body });
      assert.ok(response.redirected);
      assert.is(response.url, 'http://a/end?q');
      return response.text();
    };
    for (const status of [301, 302, 303, 307, 308]) assert.is(await go(status, 'GET'), 'GET null ');
    for (const status of [301, 302, 303]) assert.is(await go(status, 'POST'), 'GET null ');
    assert.is(await go(303, 'PUT'), 'GET null ');
    for (const status of [307, 308]) assert.is(await go(status, 'POST'), 'POST text/plain;charset=UTF-8 content');
    assert.is(await go(301, 'PUT'), 'PUT text/plain;charset=UTF-8 content');
    const body = () => new ReadableStream({ pull: controller => controller.close() });
    const once = { method: 'POST', body: body(), duplex: 'half' } as RequestInit;
    assert.is(await rejection(client.fetch('http://a/307', once)), 'TypeError');
    const rewritten = { method: 'POST', body: body(), duplex: 'half' } as RequestInit;
    assert.is(await (await client.fetch('http://a/303', rewritten)).text(), 'GET null ');
  });

  test('credentials do not follow a redirect to another origin', async () => {
    const names = ['authorization', 'proxy-authorization', 'cookie', 'x-own'];
    const { client } = clientOf(request => {
      const { host, pathname } = new URL(request.url);
      if (pathname === '/away') return new Response(null, { status: 302, headers: { location: 'http://other/end' } });
      if (pathname === '/port') return new Response(null, { status: 302, headers: { location: 'http://a:81/end' } });
      if (pathname === '/here') return new Response(null, { status: 302, headers: { location: '/end' } });
      return new Response(`${host} ${names.filter(name => request.headers.has(name)).join()}`);
    });
    const headers = { authorization: 's', 'proxy-authorization': 's', cookie: 's', 'x-own': 'o', host: 'virtual' };
    const go = async (path: string) => (await client.fetch(`http://a${path}`, { headers })).text();
    assert.is(await go('/here'), 'virtual authorization,proxy-authorization,cookie,x-own');
    assert.is(await go('/away'), 'other x-own');
    assert.is(await go('/port'), 'a:81 x-own');
  });

  test('a redirect goes to http only, without user information, at most twenty times', async () => {
    let hops = 0;
    const { client, targets } = clientOf(request => {
      const to = new URL(request.url).searchParams.get('to');
      hops++;
      return to === 'loop' && hops < 40
        ? new Response(null, { status: 302, headers: { location: '?to=loop' } })
        : new Response(null, { status: 302, headers: { location: to ?? 'http://[' } });
    });
    const go = (to: string) => rejection(client.fetch(`http://a/?to=${encodeURIComponent(to)}`));
    for (const to of ['file:///etc/passwd', 'data:,x', 'http://u:p@b/', 'ftp://b/', 'http://b:99999/', 'http://['])
      assert.is(await go(to), 'ERR_PROTOCOL', to);
    assert.is(await go('https://b/'), 'TypeError');
    assert.ok(targets.every(({ host }) => host === 'a'));
    hops = 0;
    assert.is(await go('loop'), 'ERR_PROTOCOL');
    assert.is(hops, 21);
  });

  test('a redirect without a location is an answer, with manual it is returned, with error it rejects', async () => {
    const { client } = clientOf(
      request =>
        new Response('body', { status: 302, headers: request.url.endsWith('/to') ? { location: 'http://a/x' } : {} }),
    );
    assert.is((await client.fetch('http://a/')).status, 302);
    const manual = await client.fetch('http://a/to', { redirect: 'manual' });
    assert.is(manual.headers.get('location'), 'http://a/x');
    assert.is(await manual.text(), 'body');
    assert.is(await rejection(client.fetch('http://a/to', { redirect: 'error' })), 'ERR_PROTOCOL');
  });

  test('an abort rejects with its reason at every stage, and resets the connection', async () => {
    const reason = new Error('enough');
    const caught = (promise: Promise<unknown>) =>
      promise.then(
        () => 'resolved',
        error => error as unknown,
      );
    const before = new AbortController();
    before.abort(reason);
    const { client: idle, made: none } = scripted([]);
    assert.is(await caught(idle.fetch('http://a/', { signal: before.signal })), reason);
    assert.is(none.length, 0);

    const dialling = new AbortController();
    let told: unknown;
    const slow = new HttpClient({
      connect: (_, signal) =>
        new Promise((_resolve, reject) => {
          signal?.addEventListener('abort', () => {
            told = signal.reason;
            reject(new NetError('ERR_ABORTED', 'aborted'));
          });
        }),
    });
    const first = caught(slow.fetch('http://a/', { signal: dialling.signal }));
    await settle();
    dialling.abort(reason);
    assert.is(await first, reason);
    assert.is(told, reason);

    const waiting = new AbortController();
    const silent = scripted([() => undefined]);
    const second = caught(silent.client.fetch('http://a/', { signal: waiting.signal }));
    await settle();
    waiting.abort(reason);
    assert.is(await second, reason);
    assert.ok(silent.made[0]!.isAborted);

    const reading = new AbortController();
    const half = scripted([says('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc')]);
    const response = await half.client.fetch('http://a/', { signal: reading.signal });
    const third = caught(response.text());
    await settle();
    reading.abort(reason);
    assert.is(await third, reason);
    assert.ok(half.made[0]!.isAborted);

    const sending = new AbortController();
    let cancelled: unknown;
    const body = new ReadableStream({
      cancel(why) {
        cancelled = why;
      },
    });
    const stuck = scripted([() => undefined]);
    const init = { method: 'POST', body, duplex: 'half', signal: sending.signal } as RequestInit;
    const fourth = caught(stuck.client.fetch('http://a/', init));
    await settle();
    sending.abort(reason);
    assert.is(await fourth, reason);
    assert.is(cancelled, reason);

    const done = new AbortController();
    const finished = scripted([says(ok('x'))]);
    const last = await finished.client.fetch('http://a/', { signal: done.signal });
    assert.is(await last.text(), 'x');
    done.abort(reason);
    assert.not(finished.made[0]!.isAborted, "a connection that went back to the pool is not the fetch's any more");
    assert.is(finished.client.idleCount, 1);
  });

  test('a body of the caller that fails rejects with its error', async () => {
    const body = new ReadableStream({
      async pull(controller) {
        await settle();
        controller.error(new RangeError('own'));
      },
    });
    const { client, made } = scripted([() => undefined]);
    assert.is(
      await rejection(client.fetch('http://a/', { method: 'POST', body, duplex: 'half' } as RequestInit)),
      'RangeError',
    );
    assert.ok(made[0]!.isAborted);
  });

  test('an answer that comes before the upload is through is delivered, and the upload ends with it', async () => {
    let cancelled = false;
    const body = new ReadableStream<Uint8Array>({
      pull: controller => controller.enqueue(new Uint8Array(5000)),
      cancel() {
        cancelled = true;
      },
    });
    const { client, made } = scripted([
      async server => {
        await server.readUntil('\r\n\r\n');
        await server.send('HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig');
      },
    ]);
    const response = await client.fetch('http://a/', { method: 'POST', body, duplex: 'half' } as RequestInit);
    assert.is(response.status, 413);
    assert.is(await response.text(), 'big');
    await settle();
    assert.ok(cancelled);
    assert.ok(made[0]!.isAborted);
    assert.is(client.idleCount, 0);
  });

  test('cancelling a body resets its connection', async () => {
    const { client, made } = scripted([says('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc')]);
    await (await client.fetch('http://a/')).body!.cancel();
    assert.ok(made[0]!.isAborted);
    assert.is(client.idleCount, 0);
  });

  test('a server that does not answer, or stops in the middle, is given up on time', async () => {
    const timers = new ManualTimers();
    const options = { timers, headTimeoutMs: 1000, bodyTimeoutMs: 500 };
    const silent = scripted([() => undefined], options);
    let outcome = '';
    void rejection(silent.client.fetch('http://a/')).then(code => {
      outcome = code;
    });
    await timers.advance(999);
    assert.is(outcome, '');
    await timers.advance(1);
    assert.is(outcome, 'ERR_TIMED_OUT');
    assert.ok(silent.made[0]!.isAborted);
    const stalled = scripted([says('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc')], options);
    const response = await stalled.client.fetch('http://a/');
    outcome = '';
    void rejection(response.text()).then(code => {
      outcome = code;
    });
    await timers.advance(499);
    assert.is(outcome, '');
    await timers.advance(1);
    assert.is(outcome, 'ERR_TIMED_OUT');
    assert.is(timers.count, 0);
  });

  test('https is refused with one line that says what to use, unless TLS is supplied', async () => {
    const { client } = scripted([], { secureAdvice: 'use the agent' });
    const error = await client.fetch('https://a/').catch(e => e as Error);
    assert.instance(error, TypeError);
    assert.is(
      (error as Error).message,
      'https: needs TLS, which is not spoken here; the tunnel encrypts already, so use http:, or use the agent',
    );
    const wrapped: HttpTarget[] = [];
    const secured = scripted([says(ok('x'))], {
      secure: async (stream, target) => {
        wrapped.push(target);
        return stream;
      },
    });
    const response = await secured.client.fetch('https://a/');
    assert.is(await response.text(), 'x');
    assert.equal(wrapped, [{ host: 'a', port: 443 }]);
    const failing = scripted([() => undefined], { secure: () => Promise.reject(new Error('handshake')) });
    assert.is(await rejection(failing.client.fetch('https://a/')), 'ERR_CONNECTION_RESET');
    assert.ok(failing.made[0]!.isAborted);
  });

  test('mistakes of the caller are TypeErrors, a refused connection is a NetError', async () => {
    const { client } = scripted([]);
    for (const url of ['/relative', 'ftp://a/', 'http://u:p@a/', 'http://', 'data:,x'])
      assert.is(await rejection(client.fetch(url)), 'TypeError', url);
    assert.is(await rejection(client.fetch('http://a/', { integrity: 'sha256-x' })), 'TypeError');
    assert.is(await rejection(client.fetch('http://a/', { headers: { host: 'a/b' } })), 'ERR_CONNECTION_REFUSED');
    const { client: live } = scripted([() => undefined]);
    assert.is(await rejection(live.fetch('http://a/', { headers: { host: 'a/b' } })), 'TypeError');
    assert.is(await rejection(client.fetch('http://a/')), 'ERR_CONNECTION_REFUSED');
  });
}

test.run();
