/**
 * Ids of covalab's commands, for menus, shortcuts and other extensions.
 */
export const CommandIDs = {
  show: 'covalab:show-dispatches',
  open: 'covalab:open-dispatch',
  cancel: 'covalab:cancel-dispatch',
  start: 'covalab:start-dispatch',
  pause: 'covalab:pause-dispatch',
  unpause: 'covalab:continue-dispatch',
  redispatch: 'covalab:redispatch',
  delete: 'covalab:delete-dispatch',
  compare: 'covalab:compare-dispatches',
  copyId: 'covalab:copy-dispatch-id',
  insertResult: 'covalab:insert-get-result',
  refresh: 'covalab:refresh-dispatches',
  runNotebook: 'covalab:run-notebook',
  runAfresh: 'covalab:run-notebook-afresh',
  sideBySide: 'covalab:toggle-cells-side-by-side',
  runFollowing: 'covalab:run-selected-and-following',
  runCell: 'covalab:run-cell',
  makeElectron: 'covalab:make-electron',
  bring: 'covalab:bring-values',
  openExecuted: 'covalab:open-executed-notebook'
} as const;
