/**
 * The peer program (see peer-program.ts) with a mote behind it, built on the public API alone. `open` takes the options of
 * `up()`; instead of a `store` object a `storeFolder`, and a `startUnixMs` that sets this process's wall clock wrong.
 */
import { fileStore, type MoteEvent, type MoteOptions, up } from '../../targets/node/index.ts';
import { type Face, runPeerProgram } from './peer-program.ts';

runPeerProgram(async args => {
  const { storeFolder, startUnixMs, ...options } = args;
  if (startUnixMs !== undefined) {
    const offsetMs = startUnixMs - Date.now();
    const right = Date.now;
    Date.now = () => right() + offsetMs;
  }
  if (storeFolder !== undefined) options.store = fileStore(storeFolder);
  const mote = await up(options as MoteOptions);
  const events: MoteEvent[] = [];
  mote.on(event => {
    events.push(event);
    if (events.length > 1000) events.shift();
  });
  const face: Face = {
    listen: port => mote.listen(port),
    dial: (host, port, timeoutMs) => mote.dial(host, port, { timeoutMs }),
    udp: port => mote.udp(port),
    ping: (host, o) => mote.ping(host, o),
    serve: (port, handler) => mote.serve(handler, { port }),
    fetch: (url, init) => mote.fetch(url, init),
    connections: () => mote.status().connections,
    status: () => ({ ...mote.status(), events }),
    change: (action, given) => {
      if (action === 'addPeer') mote.addPeer(given as unknown as Parameters<typeof mote.addPeer>[0]);
      else if (action === 'updatePeer') mote.updatePeer(given.publicKey as string, given.changes as object);
      else if (action === 'removePeer') mote.removePeer(given.publicKey as string);
      else throw new RangeError(`"action" expected addPeer, updatePeer or removePeer, got ${action}`);
    },
    close: () => mote.close(),
  };
  return { face, info: { publicKey: mote.publicKey, listenPort: mote.listenPort, addresses: mote.addresses } };
});
