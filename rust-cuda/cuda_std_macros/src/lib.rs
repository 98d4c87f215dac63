//! The attribute `#[kernel]`, for use as `cuda_std::kernel`.

#![forbid(unsafe_code)]

use proc_macro::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, ReturnType, Signature};

/// Makes a function a kernel: an entry point of the PTX under its own name where the target is
/// `nvptx64`, and elsewhere the same function for `cuda_std::emulator`.
///
/// The function is `unsafe`, because nobody checks what a launch passes to it; it returns nothing,
/// and has neither generic parameters nor an ABI or an export name of its own.
///
/// # Errors
///
/// Anything else does not compile, with the reason at the offending part.
#[proc_macro_attribute]
pub fn kernel(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(arguments.into(), item.into()).unwrap_or_else(|error| error.to_compile_error()).into()
}

fn expand(
    arguments: proc_macro2::TokenStream,
    item: proc_macro2::TokenStream,
) -> syn::Result<proc_macro2::TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "`#[kernel]` takes no arguments"));
    }
    let function: ItemFn = syn::parse2(item)?;
    check(&function.sig)?;
    let mut entry = function.clone();
    entry.sig.abi = Some(syn::parse_quote!(extern "ptx-kernel"));
    Ok(quote! {
        #[cfg(target_arch = "nvptx64")]
        #[unsafe(no_mangle)]
        #entry

        #[cfg(not(target_arch = "nvptx64"))]
        #function
    })
}

fn check(signature: &Signature) -> syn::Result<()> {
    if signature.unsafety.is_none() {
        let message = "a kernel must be an `unsafe fn`: nobody checks what a launch passes to it";
        return Err(Error::new_spanned(signature.fn_token, message));
    }
    if !signature.generics.params.is_empty() || signature.generics.where_clause.is_some() {
        let message = "a kernel cannot be generic: it is exported under one name; \
                       call a generic function from a kernel for each of its types";
        return Err(Error::new_spanned(&signature.ident, message));
    }
    if let ReturnType::Type(..) = signature.output {
        let message = "a kernel returns nothing: write results to memory";
        return Err(Error::new_spanned(&signature.output, message));
    }
    if let Some(constness) = &signature.constness {
        return Err(Error::new_spanned(constness, "a kernel cannot be `const`"));
    }
    if let Some(asyncness) = &signature.asyncness {
        return Err(Error::new_spanned(asyncness, "a kernel cannot be `async`"));
    }
    if let Some(abi) = &signature.abi {
        return Err(Error::new_spanned(abi, "`#[kernel]` chooses the ABI itself: leave it out"));
    }
    if let Some(receiver) = signature.receiver() {
        return Err(Error::new_spanned(receiver, "a kernel is a free function, without `self`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(item: proc_macro2::TokenStream) -> String {
        expand(quote!(), item).expect_err("must not expand").to_string()
    }

    #[test]
    fn both_forms_keep_attributes_and_body() {
        let item = quote! { #[doc = "text"] pub unsafe fn copy(from: *const u32) { body(from) } };
        let text = expand(quote!(), item).unwrap().to_string();
        assert_eq!(text.matches("doc = \"text\"").count(), 2);
        assert_eq!(text.matches("body (from)").count(), 2);
        assert_eq!(text.matches("extern \"ptx-kernel\" fn copy").count(), 1);
        assert_eq!(text.matches("pub unsafe fn copy").count(), 1);
        assert_eq!(text.matches("no_mangle").count(), 1);
    }

    #[test]
    fn what_cannot_be_a_kernel_is_refused_with_the_reason() {
        assert!(message(quote! { fn k() {} }).contains("unsafe fn"));
        assert!(message(quote! { unsafe fn k<T>() {} }).contains("generic"));
        assert!(message(quote! { unsafe fn k() where u8: Copy {} }).contains("generic"));
        assert!(message(quote! { unsafe fn k() -> u32 { 0 } }).contains("returns nothing"));
        assert!(message(quote! { const unsafe fn k() {} }).contains("const"));
        assert!(message(quote! { async unsafe fn k() {} }).contains("async"));
        assert!(message(quote! { unsafe extern "C" fn k() {} }).contains("ABI"));
        assert!(message(quote! { unsafe fn k(self) {} }).contains("self"));
        let arguments = expand(quote!(fast), quote! { unsafe fn k() {} });
        assert!(arguments.expect_err("must not expand").to_string().contains("no arguments"));
    }
}
