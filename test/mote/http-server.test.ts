import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fetchClasses } from '../../lib/mote/fetch-types.ts';
import { createServer, handleConnection } from '../../lib/mote/http-server.ts';
import type { HttpHandler, HttpServerOptions } from '../../lib/mote/http-server-options.ts';
import { HTTP_LIMITS_SMALL, latin1Encode } from '../../lib/mote/http-syntax.ts';
import {
  createPair,
  HAS_FETCH,
  ManualTimers,
  MemoryListener,
  type MemoryStream,
  pattern,
  seeded,
  settle,
} from './http-support.ts';

const test = suite('http server');

/** A connection to a handler: the client's end, and a promise of the end of service. */
function serve(
  handler: HttpHandler,
  options: HttpServerOptions = {},
  capacity?: number,
): [MemoryStream, Promise<void>] {
  const [client, server] = createPair(capacity);
  return [client, handleConnection(server, handler, options)];
}

/** Sends a text, ends, and returns everything that comes back. */
async function exchange(
  handler: HttpHandler,
  text: string,
  options: HttpServerOptions = {},
  capacity?: number,
): Promise<string> {
  const [client, done] = serve(handler, options, capacity);
  const answer = client.readAll();
  await client.send(text).catch(() => undefined);
  await client.end();
  await done;
  return answer;
}

const echo: HttpHandler = async request => new Response(`${request.method} ${request.url} ${await request.text()}`);
const get = (path = '/', fields = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;
const post = (body: string, fields = '') =>
  `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n${fields}\r\n${body}`;
const body = (answer: string) => answer.slice(answer.indexOf('\r\n\r\n') + 4);
const status = (answer: string) => Number(answer.slice(9, 12));

if (!HAS_FETCH) {
  test('without the Fetch classes the server says which one is missing', () => {
    assert.throws(() => createServer(() => undefined as never), /expected where the runtime has no global Headers/);
  });
} else {
  test('a request is answered with a length, and the connection goes on', async () => {
    const [client] = serve(echo);
    await client.send(get('/one?x=1'));
    const answer = await client.readUntil('http://a/one?x=1 ');
    // Bun gives a Response of text no type.
    const expected = 'HTTP/1.1 200 \r\ncontent-length: 21\r\n\r\nGET http://a/one?x=1 ';
    assert.is(answer.replace('content-type: text/plain;charset=UTF-8\r\n', ''), expected);
    await client.send(post('two'));
    assert.match(await client.readUntil('two'), 'POST http://a/ two');
    await client.end();
    assert.is(await client.readAll(), '');
  });

  test('requests that were sent ahead are answered in their order', async () => {
    const waiting: (() => void)[] = [];
    let running = 0;
    const [client] = serve(async request => {
      running++;
      await new Promise<void>(resolve => waiting.push(resolve));
      running--;
      return new Response(new URL(request.url).pathname);
    });
    await client.send(get('/1') + get('/2') + get('/3'));
    await client.end();
    const answer = client.readAll();
    for (let i = 0; i < 3; i++) {
      await settle();
      assert.is(running, 1);
      waiting.shift()!();
    }
    assert.equal((await answer).match(/\/\d$|\/\d(?=HTTP)/g), ['/1', '/2', '/3']);
  });

  test('the URL of a request cannot leave its host', async () => {
    const url = (target: string, fields = 'Host: a\r\n') =>
      exchange(request => new Response(request.url), `GET ${target} HTTP/1.1\r\n${fields}\r\n`).then(body);
    assert.is(await url('//evil/x'), 'http://a//evil/x');
    assert.is(await url('/\\evil/x'), 'http://a//evil/x');
    assert.is(await url('/@evil'), 'http://a/@evil');
    assert.is(await url('http://b:81/x'), 'http://b:81/x');
    assert.is(await url('/x', 'Host:\r\n'), 'http://10.0.0.2/x');
    for (const target of ['http://u@b/', 'http://b\\c/', 'http://b:99999/', 'http://b"/', 'http://[fd00/'])
      assert.is(status(await exchange(echo, get(target))), 400, target);
    assert.is(status(await exchange(echo, 'GET / HTTP/1.1\r\nHost: a:b\r\n\r\n')), 400);
    assert.is(status(await exchange(echo, 'GET / HTTP/1.1\r\nHost: [fd00::1\r\n\r\n')), 400);
  });

  test('OPTIONS * is answered by the server itself', async () => {
    const answer = await exchange(echo, 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n' + get('/next'));
    assert.ok(answer.startsWith('HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200'), answer);
  });

  test('fields arrive and leave as they are, cookies one by one', async () => {
    const answer = await exchange(
      request => {
        const response = new Response(request.headers.get('x-a'), { status: 201, statusText: 'Made' });
        response.headers.append('set-cookie', 'a=1');
        response.headers.append('set-cookie', 'b=2');
        response.headers.set('transfer-encoding', 'gzip');
        response.headers.set('keep-alive', 'timeout=1');
        return response;
      },
      get('/', 'X-A: 1\r\nX-A: \xe9\r\n'),
    );
    assert.ok(answer.startsWith('HTTP/1.1 201 Made\r\n'));
    assert.match(answer, 'set-cookie: a=1\r\nset-cookie: b=2\r\n');
    assert.not.match(answer, /gzip|keep-alive/);
    assert.match(answer, '1, \xc3\xa9');
  });

  test('the Date field comes from the clock that is given', async () => {
    const at = (unixMs: number) => exchange(echo, get(), { unixMs: () => unixMs });
    assert.match(await at(784111777_000), '\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n');
    assert.match(await at(0), 'date: Thu, 01 Jan 1970 00:00:00 GMT\r\n');
    assert.match(await at(951827696_789), 'date: Tue, 29 Feb 2000 12:34:56 GMT\r\n');
    assert.match(await at(4107542399_000), 'date: Sun, 28 Feb 2100 23:59:59 GMT\r\n');
    assert.match(await at(4107542400_000), 'date: Mon, 01 Mar 2100 00:00:00 GMT\r\n');
    const own = await exchange(() => new Response('', { headers: { date: 'x' } }), get(), { unixMs: () => 0 });
    assert.equal(own.match(/date: .*/g), ['date: x']);
  });

  test('HEAD, 204 and 304 have no body on the wire', async () => {
    const handler: HttpHandler = request => {
      const path = new URL(request.url).pathname;
      if (path === '/204') return new Response(null, { status: 204 });
      if (path === '/304') return new Response(null, { status: 304, headers: { etag: '"x"', 'content-length': '7' } });
      return new Response('content', path === '/l' ? { headers: { 'content-length': '7' } } : {});
    };
    const answer = await exchange(
      handler,
      `HEAD / HTTP/1.1\r\nHost: a\r\n\r\nHEAD /l HTTP/1.1\r\nHost: a\r\n\r\n${get('/204')}${get('/304')}${get()}`,
    );
    const heads = answer.split('\r\n\r\n');
    assert.is(heads.length, 6);
    assert.not.match(heads[0]!, 'content-length');
    assert.match(heads[1]!, 'content-length: 7');
    assert.not.match(heads[2]!, 'content-length');
    assert.match(heads[3]!, 'content-length: 7');
    assert.is(heads[5], 'content');
  });

  test('a body of unknown length is chunked, and every piece leaves at once', async () => {
    let push: (text: string | undefined) => void = () => undefined;
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        push = text => (text === undefined ? controller.close() : controller.enqueue(latin1Encode(text)));
      },
    });
    const [client] = serve(() => new Response(stream));
    await client.send(get());
    await settle();
    const head = await client.readUntil('\r\n\r\n');
    assert.ok(head.endsWith('transfer-encoding: chunked\r\n\r\n'), head);
    push('first');
    assert.is(await client.readUntil('first\r\n'), '5\r\nfirst\r\n');
    push('x'.repeat(20));
    assert.is(await client.readUntil('x\r\n'), `14\r\n${'x'.repeat(20)}\r\n`);
    push(undefined);
    assert.is(await client.readUntil('\r\n\r\n'), '0\r\n\r\n');
  });

  test('HTTP/1.0 gets a body that ends with the connection, or stays when the length is known', async () => {
    const open: HttpHandler = () =>
      new Response(
        new ReadableStream({
          async pull(controller) {
            await settle();
            controller.enqueue(latin1Encode('late'));
            controller.close();
          },
        }),
      );
    const old = 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n';
    const answer = await exchange(open, old + old);
    assert.ok(answer.endsWith('connection: close\r\n\r\nlate'), answer);
    assert.not.match(answer, 'chunked');
    const twice = await exchange(echo, old + old);
    assert.is(twice.match(/connection: keep-alive/g)?.length, 1);
    assert.is(twice.match(/HTTP\/1\.1 200/g)?.length, 2);
    const once = await exchange(echo, 'GET / HTTP/1.0\r\n\r\n' + old);
    assert.is(once.match(/HTTP\/1\.1/g)?.length, 1);
  });

  test('Connection: close ends the connection after the answer, from either side', async () => {
    const byClient = await exchange(echo, get('/1', 'Connection: x, Close\r\n') + get('/2'));
    assert.is(byClient.match(/HTTP\/1\.1/g)?.length, 1);
    assert.match(byClient, 'connection: close');
    const handler: HttpHandler = () => new Response('x', { headers: { connection: 'close' } });
    const byHandler = await exchange(handler, get('/1') + get('/2'));
    assert.is(byHandler.match(/HTTP\/1\.1/g)?.length, 1);
    assert.match(byHandler, 'connection: close');
  });

  test('an upload waits for the handler: no more than a window of it is taken', async () => {
    const total = 1_000_000;
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
    let finish: (response: Response) => void = () => undefined;
    const [client] = serve(
      request => {
        reader = (request.body as ReadableStream<Uint8Array>).getReader();
        return new Promise<Response>(resolve => {
          finish = resolve;
        });
      },
      {},
      10_000,
    );
    const content = pattern(total);
    const sent = client
      .send(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${total}\r\n\r\n`)
      .then(() => client.write(content));
    await settle();
    const taken = client.writtenBytes;
    assert.ok(taken < 40_000, `${taken} bytes were taken although nobody reads`);
    let at = 0;
    for (let next = await reader!.read(); !next.done; next = await reader!.read()) {
      for (let i = 0; i < next.value.length; i += 997)
        if (next.value[i] !== content[at + i]) throw new Error(`byte ${at + i} differs`);
      at += next.value.length;
    }
    await sent;
    assert.is(at, total);
    finish(new Response('done'));
    assert.match(await client.readUntil('done'), '200');
  });

  test('a download waits for the client: the handler is not asked for more than a window', async () => {
    let pulled = 0;
    let isCancelled = false;
    const stream = new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          pulled += 1000;
          controller.enqueue(new Uint8Array(1000));
        },
        cancel() {
          isCancelled = true;
        },
      },
      { highWaterMark: 0 },
    );
    const [client, done] = serve(() => new Response(stream), {}, 10_000);
    await client.send(get());
    await settle();
    assert.ok(pulled < 60_000, `${pulled} bytes were made although nobody reads`);
    const before = pulled;
    await client.read();
    await client.read();
    await settle();
    assert.ok(pulled > before);
    client.abort();
    await done;
    await settle();
    assert.ok(isCancelled);
  });

  test('what a handler throws is answered with 500 and told to nobody but onError', async () => {
    const errors: unknown[] = [];
    const options = { onError: (error: unknown) => errors.push(error) };
    const thrown = await exchange(
      () => {
        throw new Error('secret password');
      },
      get() + get(),
      options,
    );
    assert.is(thrown.match(/HTTP\/1\.1 500 Internal Server Error/g)?.length, 2);
    assert.not.match(thrown, 'secret');
    assert.is(errors.length, 2);
    const used = new Response('x');
    await used.text();
    const broken = () =>
      new ReadableStream({
        pull() {
          throw new Error('secret');
        },
      });
    const splitting = {
      status: 200,
      statusText: 'OK',
      body: null,
      bodyUsed: false,
      headers: new Map([['x', 'a\r\nb: c']]),
    };
    const naming = { ...splitting, headers: new Map([['a\r\nb', 'c']]) };
    for (const value of [undefined, {}, 'text', used, Response.error(), new Response(broken()), splitting, naming]) {
      const answer = await exchange(() => value as never, get(), options);
      assert.is(status(answer), 500);
      assert.not.match(answer, /secret|b: c/);
    }
    assert.is(errors.length, 10);
  });

  test('a reason phrase cannot add a line', async () => {
    const forged = { status: 200, statusText: 'OK\r\nx: y', body: null, bodyUsed: false, headers: new Map() };
    assert.is(status(await exchange(() => forged as never, get())), 500);
  });

  test('a response whose body fails or does not fit its length is cut off by a reset', async () => {
    const late = (...chunks: (string | Error)[]) =>
      new ReadableStream<unknown>({
        async pull(controller) {
          await settle();
          const chunk = chunks.shift();
          if (chunk === undefined) controller.close();
          else if (chunk === 'number') controller.enqueue(7);
          else if (typeof chunk === 'string') controller.enqueue(latin1Encode(chunk));
          else controller.error(chunk);
        },
      }) as ReadableStream<Uint8Array>;
    const errors: unknown[] = [];
    const answer = (stream: ReadableStream<Uint8Array>, length?: string) =>
      exchange(
        () => new Response(stream, length === undefined ? {} : { headers: { 'content-length': length } }),
        get(),
        {
          onError: error => errors.push(error),
        },
      );
    assert.match(await answer(late('a', new Error('x'))), /\(reset\)$/);
    assert.match(await answer(late('a', 'number')), /\(reset\)$/);
    const long = await answer(late('abc', 'def'), '4');
    assert.match(long, /\(reset\)$/);
    assert.not.match(long, 'def');
    assert.match(await answer(late('abc'), '4'), /\(reset\)$/);
    assert.is(errors.length, 4);
    assert.match(await answer(late('ab', 'cd'), '4'), /\r\n\r\nabcd$/);
  });

  test('a client that waits for 100 Continue hears it when the handler reads, and only then', async () => {
    const waiting = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n`;
    const [client] = serve(echo);
    await client.send(waiting);
    assert.is(await client.readUntil('\r\n\r\n'), 'HTTP/1.1 100 Continue\r\n\r\n');
    await client.send('abc');
    assert.match(await client.readUntil('abc'), 'HTTP/1.1 200');
    const [other, done] = serve(() => new Response('no', { status: 403 }));
    await other.send(waiting);
    const answer = await other.readUntil('no');
    assert.ok(answer.startsWith('HTTP/1.1 403'), answer);
    assert.match(answer, 'connection: close');
    await other.end();
    await done;
    const early = await exchange(echo, `${waiting}abc${get('/next')}`);
    assert.ok(early.startsWith('HTTP/1.1 200'), early);
    assert.is(status(await exchange(echo, get('/', 'Expect: the unexpected\r\n'))), 417);
  });

  test('an echo of the request body streams both ways at once', async () => {
    const [client] = serve(request => new Response(request.body), {}, 5000);
    await client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n');
    assert.match(await client.readUntil('chunked\r\n\r\n'), /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 \r\n/);
    for (const word of ['one', 'two', 'three']) {
      await client.send(`${word.length.toString(16)}\r\n${word}\r\n`);
      assert.match(await client.readUntil(`${word}\r\n`), word);
    }
    await client.send('0\r\n\r\n');
    assert.is(await client.readUntil('0\r\n\r\n'), '0\r\n\r\n');
    await client.send(get('/again'));
    assert.match(await client.readUntil('\r\n\r\n'), '200');
  });

  test('content that nobody read is skipped up to a limit, beyond it the connection ends', async () => {
    const handler: HttpHandler = request => new Response(new URL(request.url).pathname);
    const kept = await exchange(handler, post('x'.repeat(1000)) + get('/next'), { drainBytes: 1000 }, 500);
    assert.match(kept, '/next');
    const dropped = await exchange(handler, post('x'.repeat(1001)) + get('/next'), { drainBytes: 1000 }, 500);
    assert.match(dropped, 'connection: close');
    assert.not.match(dropped, '/next');
    const chunk = `3e8\r\n${'x'.repeat(1000)}\r\n`;
    const chunked = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';
    const [client, done] = serve(handler, { drainBytes: 1000 }, 1500);
    const answer = client.readAll();
    await client.send(`${chunked}${chunk.repeat(5)}0\r\n\r\n${get('/next')}`).catch(() => undefined);
    await client.end();
    await done;
    assert.is((await answer).match(/HTTP\/1\.1/g)?.length, 1);
  });

  test('content of a GET is skipped, not shown', async () => {
    const answer = await exchange(echo, `GET /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc${get('/2')}`);
    assert.equal(answer.match(/http:\/\/a.*/g), ['http://a/1 HTTP/1.1 200 ', 'http://a/2 ']);
  });

  test('methods that Fetch cannot express are refused, and a get is not a GET', async () => {
    for (const line of ['CONNECT a:1', 'TRACE /', 'TRACK /', 'get /', 'Post /'])
      assert.is(status(await exchange(echo, `${line} HTTP/1.1\r\nHost: a\r\n\r\n`)), 501, line);
    assert.match(await exchange(echo, 'PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n'), 'PROPFIND http://a/');
  });

  test('a malformed or excessive request is answered with its status and the connection ends', async () => {
    const limits = { ...HTTP_LIMITS_SMALL, bodyBytes: 10 };
    const cases: [number, string][] = [
      [400, 'GET /\r\n\r\n'],
      [400, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
      [413, post('x'.repeat(11))],
      [414, `GET /${'x'.repeat(2000)} HTTP/1.1\r\nHost: a\r\n\r\n`],
      [431, get('/', `X: ${'x'.repeat(5000)}\r\n`)],
      [501, get('/', 'Transfer-Encoding: gzip, chunked\r\n')],
      [505, 'GET / HTTP/2.0\r\nHost: a\r\n\r\n'],
    ];
    for (const [expected, text] of cases) {
      let calls = 0;
      const answer = await exchange(
        () => {
          calls++;
          return new Response('reached');
        },
        text + get('/smuggled'),
        { limits },
      );
      assert.is(status(answer), expected);
      assert.match(answer, 'connection: close');
      assert.is(answer.match(/HTTP\/1\.1/g)?.length, 1);
      assert.is(calls, 0);
    }
  });

  test('content that turns out malformed or too long fails the handler and gets its status', async () => {
    const limits = { ...HTTP_LIMITS_SMALL, bodyBytes: 10 };
    const chunked = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';
    const answers = [`${chunked}zz\r\n`, `${chunked}6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n`].map(text =>
      exchange(echo, text + get('/smuggled'), { limits }),
    );
    assert.equal((await Promise.all(answers)).map(status), [400, 413]);
    for (const answer of await Promise.all(answers)) assert.not.match(answer, 'smuggled');
    const seen: unknown[] = [];
    await exchange(
      async request => {
        await request.text().catch(error => seen.push((error as { code?: string }).code));
        return new Response('saw it');
      },
      post('abc').slice(0, -1),
    );
    assert.equal(seen, ['ERR_CONNECTION_RESET']);
  });

  test('the signal of a request fires when the client is gone', async () => {
    let signal: AbortSignal | undefined;
    const [client, done] = serve(async request => {
      signal = request.signal;
      await new Promise<void>(resolve => request.signal.addEventListener('abort', () => resolve()));
      return new Response('late');
    });
    await client.send(post('content'));
    await settle();
    assert.is(signal?.aborted, false);
    client.abort();
    await done;
    assert.is(signal?.aborted, true);
    assert.is((signal!.reason as { code: string }).code, 'ERR_CONNECTION_RESET');
  });

  test('a response that comes when the client has gone is thrown away', async () => {
    let finish: (response: Response) => void = () => undefined;
    let isCancelled = false;
    const [client, done] = serve(() => new Promise<Response>(resolve => void (finish = resolve)));
    await client.send(get());
    await settle();
    client.abort();
    await done;
    finish(new Response(new ReadableStream({ cancel: () => void (isCancelled = true) })));
    await settle();
    assert.ok(isCancelled);
  });

  test('an idle connection is closed at its deadline and not before', async () => {
    const timers = new ManualTimers();
    const [client, done] = serve(echo, { timers, idleTimeoutMs: 1000 });
    await timers.advance(999);
    await client.send(get());
    await client.readUntil('http://a/ ');
    await settle();
    await timers.advance(999);
    const rest = client.readAll();
    await settle();
    assert.is(timers.count, 1);
    await timers.advance(1);
    assert.is(await rest, '');
    await client.end();
    await done;
    assert.is(timers.count, 0);
  });

  test('a head that does not get finished is answered with 408, however busily it drips', async () => {
    const timers = new ManualTimers();
    const [client, done] = serve(echo, { timers, idleTimeoutMs: 5000, headTimeoutMs: 1000 });
    await timers.advance(4000);
    await client.send('GET / HT');
    for (let i = 0; i < 9; i++) {
      await timers.advance(100);
      await client.send('x');
    }
    await timers.advance(99);
    const answer = client.readAll();
    await settle();
    await timers.advance(1);
    await client.end();
    assert.is(status(await answer), 408);
    assert.match(await answer, 'connection: close');
    await done;
  });

  test('content that stalls is answered with 408, and its reader sees a timeout', async () => {
    const timers = new ManualTimers();
    const seen: unknown[] = [];
    const handler: HttpHandler = async request => {
      try {
        return new Response(await request.text());
      } catch (error) {
        seen.push((error as { code: string }).code);
        throw error;
      }
    };
    const [client] = serve(handler, { timers, bodyTimeoutMs: 1000 });
    const answer = client.readAll();
    await client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nab');
    await settle();
    await timers.advance(999);
    await client.send('cd');
    await timers.advance(999);
    assert.equal(seen, []);
    await timers.advance(1);
    assert.equal(seen, ['ERR_TIMED_OUT']);
    await client.end();
    assert.is(status(await answer), 408);
  });

  test('a client that takes nothing is reset', async () => {
    const timers = new ManualTimers();
    const [client, done] = serve(() => new Response(new Uint8Array(50_000)), { timers, writeTimeoutMs: 1000 }, 10_000);
    await client.send(get());
    await settle();
    await timers.advance(999);
    await client.read();
    await settle();
    await timers.advance(1000);
    await done;
    assert.match(await client.readAll(), /\(reset\)$/);
    assert.is(timers.count, 0);
  });

  test('a closed connection is still read for a while, so that the answer is not lost, and then reset', async () => {
    const timers = new ManualTimers();
    const [client, done] = serve(echo, { timers, lingerMs: 1000 });
    await client.send('BROKEN\r\n\r\n');
    await settle();
    await client.send('more of it');
    assert.match(await client.readAll(), /^HTTP\/1\.1 400/);
    await timers.advance(999);
    await client.send('and more');
    await timers.advance(1);
    await done;
    assert.ok(
      await client.send('x').then(
        () => false,
        () => true,
      ),
    );
    const [flood, ended] = serve(echo, { timers, lingerMs: 1000, drainBytes: 100 });
    await flood.send('BROKEN\r\n\r\n');
    await settle();
    await flood.send('x'.repeat(101));
    await ended;
  });

  test('closing a server lets the request under way finish and closes the idle ones', async () => {
    const timers = new ManualTimers();
    let finish: () => void = () => undefined;
    const server = createServer(
      async request => {
        if (request.url.endsWith('/slow')) await new Promise<void>(resolve => void (finish = resolve));
        return new Response(request.url);
      },
      { timers },
    );
    const listener = new MemoryListener();
    const listening = server.listen(listener);
    const [idle, busy] = [listener.connect(), listener.connect()];
    await idle.send(get('/fast'));
    await idle.readUntil('/fast');
    await busy.send(get('/slow') + get('/never'));
    await settle();
    assert.is(server.connectionCount, 2);
    const closing = server.close();
    assert.is(await idle.readAll(), '');
    await idle.end();
    await listening;
    finish();
    const answer = await busy.readAll();
    assert.match(answer, 'connection: close');
    assert.match(answer, '/slow');
    assert.not.match(answer, '/never');
    await busy.end();
    await closing;
    assert.is(server.connectionCount, 0);
    assert.throws(() => listener.connect());
    await server.close();
  });

  test('what does not finish within the grace is reset', async () => {
    const timers = new ManualTimers();
    const server = createServer(() => new Promise(() => undefined), { timers });
    const [client, stream] = createPair();
    void server.handle(stream);
    await client.send(get());
    await settle();
    const closing = server.close(1000);
    await timers.advance(999);
    const answer = client.readAll();
    await settle();
    await timers.advance(1);
    assert.is(await answer, '(reset)');
    await closing;
    assert.is(timers.count, 0);
  });

  test('over the limit of connections the longest idle one goes, and when none is idle 503 is the answer', async () => {
    const server = createServer(
      request => (request.url.endsWith('/slow') ? new Promise<Response>(() => undefined) : new Response('ok')),
      { maxConnections: 2 },
    );
    const listener = new MemoryListener();
    void server.listen(listener);
    const [first, second] = [listener.connect(), listener.connect()];
    await settle();
    await first.send(get());
    await first.readUntil('ok');
    const third = listener.connect();
    assert.is(await second.readAll(), '', 'the second has been idle longer');
    await second.end();
    await first.send(get('/slow'));
    await third.send(get('/slow'));
    await settle();
    const fourth = listener.connect();
    assert.is(status(await fourth.readAll()), 503);
    assert.is(server.connectionCount, 2);
    first.abort();
    third.abort();
  });

  test('any bytes end in an answer or a close, never in a throw, and nothing stays behind', async () => {
    const random = seeded(7);
    const below = (n: number) => Math.floor(random() * n);
    const parts = [
      get(),
      post('abc'),
      get('/', 'Expect: 100-continue\r\n'),
      '\r\n',
      'x',
      '\x00',
      ': ',
      'Content-Length: 9',
    ];
    let answered = 0;
    for (let round = 0; round < 300; round++) {
      let text = '';
      for (let i = below(6); i >= 0; i--) text += parts[below(parts.length)]!;
      const at = below(text.length + 1);
      text = text.slice(0, at) + String.fromCharCode(below(256)) + text.slice(at + below(4));
      const [client, done] = serve(echo, { limits: HTTP_LIMITS_SMALL }, 16 + below(2000));
      const answer = client.readAll();
      for (let from = 0; from < text.length; ) {
        const piece = text.slice(from, from + 1 + below(60));
        await client.send(piece).catch(() => undefined);
        from += piece.length;
      }
      if (below(4) === 0) client.abort();
      else await client.end();
      await done;
      if ((await answer).startsWith('HTTP/1.1 ')) answered++;
    }
    assert.ok(answered > 100, `only ${answered} were answered`);
  });

  test('a handler that is no function and missing classes are refused at once', () => {
    assert.throws(() => createServer(undefined as never), /"handler" expected a function, got undefined/);
    assert.ok(fetchClasses().Request);
  });
}

test.run();
