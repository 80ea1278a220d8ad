#' Save a fit as a folder, and load one
#'
#' The folder is the same as the one that Python's `SpiceFit.save` writes, so
#' that a fit can go from R to Python and back. For use in R alone,
#' [saveRDS()] does as well.
#'
#' @param fit A [spice_fit()].
#' @param path Path of the folder. It may exist; files of the same names are
#'   replaced.
#' @return `spice_save()` returns `path`, invisibly, and `spice_load()` a
#'   [spice_fit()]. Loading needs Python, saving does not.
#' @export
#' @examples
#' folder <- tempfile()
#' spice_save(example_fit, folder)
#' list.files(folder)
#'
#' \donttest{
#' if (spicestat_available()) spice_load(folder)
#' }
spice_save <- function(fit, path) {
  check_fit(fit, rlang::current_env())
  for (name in names(fit$files)) {
    file <- file.path(path, name)
    dir.create(dirname(file), recursive = TRUE, showWarnings = FALSE)
    written <- tryCatch(
      {
        writeBin(fit$files[[name]], file)
        TRUE
      },
      error = function(error) FALSE, warning = function(warning) FALSE
    )
    if (!written) {
      abort_spicestat("storage", paste0("cannot write '", file, "'."))
    }
  }
  invisible(path)
}

#' @rdname spice_save
#' @export
spice_load <- function(path) {
  if (!rlang::is_string(path) || !dir.exists(path)) {
    abort_spicestat("storage", paste0("there is no folder '", format(path)[[1]], "'."))
  }
  path <- normalizePath(path)
  new_spice_fit(call_bridge("load", path), read_folder(path))
}

check_fit <- function(fit, call) {
  if (!inherits(fit, "spice_fit")) {
    abort_spicestat(
      "config", paste0("`fit` must come from spice_fit(), not be a ", class(fit)[[1]], "."),
      call = call
    )
  }
}

#' All files below a folder as raw vectors, named by their relative paths
#' @noRd
read_folder <- function(folder) {
  names <- list.files(folder, recursive = TRUE, all.files = TRUE)
  contents <- lapply(file.path(folder, names), function(file) readBin(file, "raw", file.size(file)))
  stats::setNames(contents, names)
}
