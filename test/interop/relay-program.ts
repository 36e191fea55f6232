/**
 * The relay of `motenet serve` alone, over TLS, that admits everybody: for stock relay clients, whose keys are in no
 * tailnet. `open` takes `port`, `certFile`, `keyFile`; `status` gives the relay's own counters.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createNobleSuite } from '../../lib/crypto/noble.ts';
import { SecretKey } from '../../lib/crypto/keys.ts';
import { answerRelayRequest } from '../../lib/derp/http.ts';
import { host } from '../../targets/node/host.ts';
import { RelayHost } from '../../targets/server/relay-host.ts';
import { socketPipe } from '../../targets/server/relay-pipe.ts';
import { serveJsonLines } from './json-lines.ts';

let relay: RelayHost | undefined;
const closed: string[] = [];

serveJsonLines((op, args) => {
  if (op === 'status') return { status: relay?.status(), closed };
  const made = new RelayHost({
    host,
    suite: createNobleSuite(),
    privateKey: SecretKey.generate(host.random),
    limits: {},
    tailnetOf: () => 'lab',
    log: (_level, message, fields) => {
      closed.push(`${message} ${JSON.stringify(fields ?? {})}`);
      process.stderr.write(`${closed.at(-1)}\n`);
    },
  });
  relay = made;
  const server = createServer({ cert: readFileSync(args.certFile), key: readFileSync(args.keyFile) });
  server.on('upgrade', (request, socket, head) => {
    const headers = request.headers as Record<string, string>;
    const answer = answerRelayRequest({ method: request.method!, target: request.url!, headers }, made.publicKey);
    if (answer?.type !== 'derp') return void socket.destroy();
    socket.write(answer.head);
    const ticket = { address: request.socket.remoteAddress ?? '', charge: () => 0, prove: () => {}, close: () => {} };
    if (!made.open(ticket, sink => socketPipe(socket, head, sink))) socket.destroy();
  });
  return new Promise(resolve => server.listen(args.port, () => resolve({})));
});
