-- Suggestions from codex-lsp in Neovim 0.12 or newer, with Neovim's own client and no plugin.
-- Put this in init.lua; `codex-lsp` must be on PATH.

vim.lsp.config('codex_lsp', {
  cmd = { 'codex-lsp' },
  root_markers = { '.codex-lsp.toml', 'pyproject.toml', 'package.json', '.git' },
})
vim.lsp.enable('codex_lsp')
vim.lsp.inline_completion.enable()

-- Tab accepts the grey text. Where there is none it stays Tab.
vim.keymap.set('i', '<Tab>', function()
  if not vim.lsp.inline_completion.get() then
    return '<Tab>'
  end
end, { expr = true, desc = 'Accept the inline completion' })
