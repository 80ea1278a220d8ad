.onLoad <- function(libname, pkgname) {
  # Python is not started here: that would take the choice of Python from the
  # user, and CRAN's machines have stray ones
  python <- Sys.getenv("SPICESTAT_PYTHON")
  if (nzchar(python) && !nzchar(Sys.getenv("RETICULATE_PYTHON"))) {
    Sys.setenv(RETICULATE_PYTHON = python)
  }
  declare_python()
  # marginaleffects takes models of classes that it is told of
  options(marginaleffects_model_classes = union(getOption("marginaleffects_model_classes"), "spice_group"))
  if (isNamespaceLoaded("marginaleffects")) join_marginaleffects()
  setHook(packageEvent("marginaleffects", "onLoad"), join_marginaleffects)
  if (isNamespaceLoaded("broom.helpers")) join_broom_helpers()
  setHook(packageEvent("broom.helpers", "onLoad"), join_broom_helpers)
}

.onUnload <- function(libpath) { # nolint: object_name_linter.
  stop_worker()
}
