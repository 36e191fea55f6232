/**
 * The server that the kill test kills: on a fixed port and folder, with the relays that it is told to publish. Its argument
 * is JSON with `dataDir`, `port` and `derpMap`; says `ready` when it is.
 */
import { startServer } from '../../targets/server/server.ts';

const { dataDir, port, derpMap } = JSON.parse(process.argv[2]!);
await startServer({
  dataDir,
  derpMap,
  listen: { host: '127.0.0.1', port },
  stunPort: -1,
  log: (level, message) => {
    if (level === 'warn' || level === 'error') process.stderr.write(`${level}: ${message}\n`);
  },
});
process.stdout.write('ready\n');
