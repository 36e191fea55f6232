/**
 * The peer program (see peer-program.ts) with a mote behind it that joins a tailnet, built on the public API alone.
 *
 * `open` takes the options of `up()`, instead of a `store` object a `storeFolder`. It settles when the mote is a member;
 * `events` tells before that what happened. More ops: `tailnet` (its status), `whois {address}`, `logout`.
 */
import { fileStore, type Mote, type MoteEvent, type MoteOptions, up } from '../../targets/node/index.ts';
import type { Json } from './json-lines.ts';
import { type Face, runPeerProgram } from './peer-program.ts';

let mote: Mote | undefined;
const events: MoteEvent[] = [];

async function open({ storeFolder, ...options }: Json): Promise<{ face: Face; info: object }> {
  if (storeFolder !== undefined) options.store = fileStore(storeFolder);
  const onEvent = (event: MoteEvent) => {
    events.push(event);
    process.stderr.write(`${new Date().toISOString()} ${JSON.stringify(event)}\n`);
  };
  const made = await up({ ...options, onEvent } as unknown as MoteOptions);
  mote = made;
  const face: Face = {
    listen: port => made.listen(port),
    dial: (host, port, timeoutMs) => made.dial(host, port, { timeoutMs }),
    udp: port => made.udp(port),
    ping: (host, o) => made.ping(host, o),
    serve: (port, handler) => made.serve(handler, { port }),
    fetch: (url, init) => made.fetch(url, init),
    connections: () => made.status().connections,
    status: () => made.status(),
    change: () => {
      throw new RangeError('a tailnet has no peers to change');
    },
    close: () => made.close(),
  };
  return { face, info: { publicKey: made.publicKey, addresses: made.addresses } };
}

runPeerProgram(open, {
  events: async () => ({ events }),
  tailnet: async () => ({ tailnet: mote?.status().tailnet, drops: mote?.status().drops }),
  whois: async ({ address }) => ({ whois: mote?.whois(address) }),
  logout: async () => {
    await mote?.logout();
    return {};
  },
});
