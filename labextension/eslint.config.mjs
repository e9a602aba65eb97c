import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['**/lib/**', '**/tests-built/**', 'src/wire.ts', 'labextension/src/wire.ts'] },
  ...tseslint.configs.strict,
  ...tseslint.configs.stylistic,
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/explicit-function-return-type': ['error', { allowExpressions: true }],
      '@typescript-eslint/no-floating-promises': ['error', { allowForKnownSafeCalls: [{ from: 'package', name: 'test', package: 'node:test' }] }],
      '@typescript-eslint/no-misused-promises': 'error',
      // JupyterLab's custom: what a file keeps to itself is in `namespace Private` at its end.
      '@typescript-eslint/no-namespace': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unused-expressions': ['error', { allowTernary: true, allowShortCircuit: true }],
      'max-lines': ['error', 800],
      'no-console': 'error',
      'no-restricted-properties': [
        'error',
        { property: 'innerHTML', message: 'Outputs of notebooks nobody trusts are shown too: build elements (dom.ts).' },
        { property: 'outerHTML', message: 'Outputs of notebooks nobody trusts are shown too: build elements (dom.ts).' },
        { property: 'insertAdjacentHTML', message: 'Outputs of notebooks nobody trusts are shown too: build elements (dom.ts).' }
      ],
      eqeqeq: 'error',
      curly: 'error'
    }
  },
  { files: ['**/*.mjs', '**/*.js'], extends: [tseslint.configs.disableTypeChecked] }
);
