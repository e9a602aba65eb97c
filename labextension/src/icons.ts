/**
 * Icon of covalab: three electrons joined to a lattice.
 */
import { LabIcon } from '@jupyterlab/ui-components';

export const covalabIcon = new LabIcon({
  name: 'covalab:icon',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 22 22">
  <g class="jp-icon3" fill="none" stroke="#616161" stroke-width="1.6">
    <path d="M7.2 9.9 14 6.2M7.2 12.1 14 15.8M16.5 8v6"/>
  </g>
  <g class="jp-icon3" fill="#616161">
    <circle cx="5" cy="11" r="2.9"/><circle cx="16.5" cy="5" r="2.9"/><circle cx="16.5" cy="17" r="2.9"/>
  </g>
</svg>`
});
