/** The contracts on Bun; started by foreign.test.ts. */
import { host } from '../../targets/bun/host.ts';
import { allContracts } from './contracts.ts';

allContracts('bun', host);
