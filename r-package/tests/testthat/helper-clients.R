# What other packages make of group models. `gives()`, `warns()` and `refuses()` are tests of one verb, whose words
# scripts/clients.R puts into docs/clients.md: nothing stands there that is not tested.

#' `verb` is the function's name with its package, or several, and in `code` the function itself; `of` says which models
gives <- function(verb, of, outcome, code) test_client(verb, outcome, substitute(code), parent.frame())

warns <- function(verb, of, outcome, code, message) {
  test_client(verb, outcome, bquote(expect_warning(.(substitute(code)), .(message))), parent.frame())
}

refuses <- function(verb, of, outcome, code, message) {
  test_client(verb, outcome, bquote(expect_error(.(substitute(code)), .(message))), parent.frame())
}

test_client <- function(verbs, outcome, code, place) {
  for (verb in verbs) test_verb(verb, outcome, code, place)
}

test_verb <- function(verb, outcome, code, place) {
  test_that(paste0(verb, "(): ", outcome), {
    parts <- strsplit(verb, "::", fixed = TRUE)[[1]]
    for (package in c("metafor", parts[[1]])) skip_if_not_installed(package)
    skip_if_not(parts[[2]] %in% getNamespaceExports(parts[[1]]), paste("older than", verb))
    # by name, as packages that one Debian or the other lacks could not be declared
    own <- new.env(parent = place)
    own$verb <- getExportedValue(parts[[1]], parts[[2]])
    eval(code, own)
  })
}
