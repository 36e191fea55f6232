/**
 * An ordinary node:http server and client inside a tunnel, on Node: `npx tsx examples/node-http.ts`.
 *
 * Two motes in one process stand for two machines. The server listens nowhere but inside the tunnel; the client's agent
 * knows no other way out. Over real machines only `endpoint` changes.
 */
import http from 'node:http';
import { createAgent } from '../targets/node/agent.ts';
import { host, SecretKey, up } from '../targets/node/index.ts';
import { attachServer } from '../targets/node/server.ts';

const a = await up({ privateKey: SecretKey.generate(host.random), addresses: ['10.0.0.1/24'] });
const b = await up({
  privateKey: SecretKey.generate(host.random),
  addresses: ['10.0.0.2/24'],
  peers: [{ publicKey: a.publicKey, endpoint: `127.0.0.1:${a.listenPort}`, allowedIPs: ['10.0.0.1/32'] }],
});
a.addPeer({ publicKey: b.publicKey, allowedIPs: ['10.0.0.2/32'] });

const app = http.createServer((request, response) => {
  response.end(`${request.method} ${request.url} from ${request.socket.remoteAddress}\n`);
});
const attachment = await attachServer(a, app, 80);

const agent = createAgent(b);
http.get('http://10.0.0.1/hello', { agent }, async response => {
  for await (const chunk of response) process.stdout.write(chunk);
  agent.destroy();
  await attachment.close();
  await a.close();
  await b.close();
});
