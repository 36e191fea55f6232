/** The contracts on Node. */
import { host } from '../../targets/node/host.ts';
import { allContracts } from './contracts.ts';

allContracts('node', host);
