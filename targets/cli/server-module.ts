/**
 * The coordinator, which is a package of its own: loaded when a command needs it, so that whoever only joins networks
 * does not have to install it.
 */
import type { AdminContext, Server, ServerOptions } from '../server/types.ts';
import { codeOf, RunError } from './errors.ts';

/** What this program uses of the package. */
export interface ServerModule {
  startServer(options: ServerOptions): Promise<Server>;
  /** The coordinator over its data folder, without a network; nobody else may have the folder open. */
  openOffline(dataDir: string): Promise<AdminContext & { close(): Promise<void> }>;
}

const PACKAGE = 'motenet-server';

/** Loads the package; in the source tree its source. RunError with the next step when it is not installed. */
export async function loadServer(): Promise<ServerModule> {
  const isSource = import.meta.url.endsWith('/targets/cli/server-module.ts');
  const name: string = isSource ? new URL('../server/index.ts', import.meta.url).href : PACKAGE;
  try {
    return (await import(name)) as ServerModule;
  } catch (cause) {
    const isMissing = codeOf(cause) === 'ERR_MODULE_NOT_FOUND' && String(cause).includes(`'${PACKAGE}'`);
    if (!isMissing) throw cause;
    throw new RunError(`this needs the package ${PACKAGE} beside this one: npm install ${PACKAGE}`, { cause });
  }
}
