/** The contract of a machine's addresses, on the in-memory network. */
import { interfacesContract } from '../contract/host.ts';
import { MemoryNetwork } from './memory-host.ts';

const network = new MemoryNetwork();
const host = network.host('10.0.0.1', 1);
// Delivery follows virtual time, which moves with every socket that is opened.
const openDatagrams: typeof host.openDatagrams = async (options, sink) => {
  const socket = await host.openDatagrams(options, sink);
  return {
    ...socket,
    send: (buf, start, end, to) => {
      const isTaken = socket.send(buf, start, end, to);
      void network.advance(1);
      return isTaken;
    },
  };
};

interfacesContract('memory', { ...host, openDatagrams }, true);
