# Write docs/clients.md from the tests of other packages; `check` as argument fails if the page is another one.
page <- "docs/clients.md"
calls <- Filter(
  function(call) is.call(call) && as.character(call[[1]]) %in% c("gives", "warns", "refuses"),
  as.list(parse("r-package/tests/testthat/test-clients.R", keep.source = FALSE))
)
rows <- do.call(rbind, lapply(calls, function(call) {
  verbs <- do.call(rbind, strsplit(eval(call[[2]]), "::", fixed = TRUE))
  by_package <- tapply(paste0("`", verbs[, 2], "()`"), verbs[, 1], paste, collapse = ", ")
  data.frame(
    package = names(by_package), verbs = by_package, of = call[[3]], what = as.character(call[[1]]),
    outcome = gsub("|", "\\|", call[[4]], fixed = TRUE)
  )
}))
rows <- rows[order(match(rows$package, unique(rows$package))), ]
lines <- c(
  "# Other R packages on group models", "",
  "What verbs of other packages make of `spice_group()`'s models: what they give, where they warn, and what they refuse,",
  "with an error that says what to use instead. Each line is a test (`r-package/tests/testthat/test-clients.R`), from which",
  "`make document-r` writes this page; `make test-clients` runs them with the packages of Debian 13, `make test-r` with",
  "those that are installed. Verbs that are not listed have not been tried.", "",
  "Models are *joint* where one model has all coefficients of the equations (`\"hierarchical\"`, the default,",
  "`\"multivariate_meta\"` and mixed models), and *analyse coefficients separately* otherwise (`\"meta\"`,",
  "`\"metafor\"`). `modules =` and `terms =` choose *one coefficient*.", "",
  "| package | verb | of | what it does | outcome |", "|---|---|---|---|---|",
  sprintf("| %s | %s | %s | %s | %s |", rows$package, rows$verbs, rows$of, rows$what, rows$outcome)
)
if (!identical(commandArgs(TRUE), "check")) {
  writeLines(lines, page)
} else if (!file.exists(page) || !identical(readLines(page), lines)) {
  stop(page, " is not what the tests say: run make document-r", call. = FALSE)
}
