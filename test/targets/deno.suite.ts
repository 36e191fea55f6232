/** The contracts on Deno; started by foreign.test.ts. */
import { host } from '../../targets/deno/host.ts';
import { allContracts } from './contracts.ts';

allContracts('deno', host);
