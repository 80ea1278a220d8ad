#' spicestat: discover learning equations and compare people
#'
#' Start with [spice_fit()], which turns trial-by-trial choices into one
#' equation per participant, and go on with [spice_group()], which relates the
#' coefficients of these equations to a table about the participants. Both
#' return objects with [tidy()], [glance()] and `autoplot()` methods.
#'
#' Fitting runs in Python. [install_spicestat()] sets it up and
#' [spicestat_sitrep()] says what is found and what is missing. Results are
#' plain R objects: they survive [saveRDS()], and printing, tidying and
#' plotting them needs no Python.
#'
#' @section Where Python runs:
#' By default within R, by reticulate. If R crashes when the engine starts
#' (torch and some R packages bring two copies of the OpenMP library, above all
#' on macOS), set `options(spicestat.engine = "subprocess")` or the environment
#' variable `SPICESTAT_ENGINE`: the engine is then a process of its own, which
#' starts with the first call and ends with R. Results, progress and conditions
#' are the same; Ctrl-C ends the process, also during training. This needs the
#' package processx.
#'
#' @section Which Python:
#' With reticulate 1.41 or newer and no Python chosen, reticulate itself fetches
#' a Python with what the environment variable `SPICESTAT_REQUIREMENT` names
#' (by default the package `spicestat`) when it is first needed.
#'
#' @section Conditions:
#' Errors have class `spicestat_error_<code>` and warnings
#' `spicestat_warning_<code>`, so that `tryCatch(spicestat_error_column = )`
#' works. Codes of errors: `column`, `data`, `covariate`, `formula`, `config`,
#' `shape`, `storage`, `numerical`, `install` (Python or the Python package is
#' missing), `process`
#' (the engine's process ended) and `internal` (a bug). Codes of warnings: `exclusion`,
#' `convergence`, `identifiability` and `python`.
#'
#' @keywords internal
"_PACKAGE"
