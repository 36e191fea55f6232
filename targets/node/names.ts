/** Names of the public DNS, as the system resolves them. */
import { lookup } from 'node:dns/promises';
import { NetError } from '../../lib/base/errors.ts';

/** Addresses of a name, best first; at least one. Rejects with NetError `ERR_NAME_NOT_FOUND`. */
export async function resolveName(name: string): Promise<readonly string[]> {
  try {
    const found = await lookup(name, { all: true, verbatim: true });
    if (found.length > 0) return found.map(({ address }) => address);
  } catch (cause) {
    throw new NetError('ERR_NAME_NOT_FOUND', `the name ${name} does not resolve`, { cause });
  }
  throw new NetError('ERR_NAME_NOT_FOUND', `the name ${name} has no address`);
}
