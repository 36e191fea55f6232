/**
 * HTTP inside a tunnel in the Fetch API's shape, on Deno: `deno run --allow-net --allow-sys --unstable-net examples/deno-http.ts`.
 *
 * Two motes in one process stand for two machines. Over real machines only `endpoint` changes, and the same lines run on
 * Node and the other runtimes.
 */
import { host, SecretKey, up } from '../targets/deno/index.ts';

const a = await up({ privateKey: SecretKey.generate(host.random), addresses: ['10.0.0.1/24'] });
const b = await up({
  privateKey: SecretKey.generate(host.random),
  addresses: ['10.0.0.2/24'],
  peers: [{ publicKey: a.publicKey, endpoint: `127.0.0.1:${a.listenPort}`, allowedIPs: ['10.0.0.1/32'] }],
});
a.addPeer({ publicKey: b.publicKey, allowedIPs: ['10.0.0.2/32'] });

await a.serve((request, { remote }) => {
  return new Response(`${request.method} ${new URL(request.url).pathname} from ${remote.address}\n`);
});

const response = await b.fetch('http://10.0.0.1/hello');
console.log((await response.text()).trim());

await a.close();
await b.close();
